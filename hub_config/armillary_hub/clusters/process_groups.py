"""Ending a scheduler or worker together with all that it started, by what the gateway recorded of it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from armillary_kernels.processes import Process


def recorded_process(state: dict[str, Any]) -> Process | None:
    """Return the process in a cluster's or worker's recorded state, or None where none was started."""
    return Process(state["pid"], state["start_time"]) if "start_time" in state else None


def ask_to_end(process: Process) -> None:
    """Send SIGTERM to the process that leads a group."""
    if process.is_alive():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
