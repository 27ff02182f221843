"""Watching ranks from outside."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def rank_processes(run_id: str) -> list[psutil.Process]:
    """Return a run's ranks, as the process list has them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "armillary.training.rank" in words and any(run_id in word for word in words):
            found.append(process)
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)
