"""Suspending that lasts for as long as a test wants, also over the death of the pool that does it."""

from __future__ import annotations

import time
from pathlib import Path

from armillary_hub.pool.suspender import SimulatedSuspender


class HeldSuspender(SimulatedSuspender):
    """Works on a process until nothing holds it any more: a file in a folder, named by the process's pid."""

    def __init__(self, folder):
        self._folder = Path(folder)

    def suspend(self, process, devices):
        self._wait(process)
        return super().suspend(process, devices)

    def restore(self, process, devices, saved):
        self._wait(process)
        super().restore(process, devices, saved)

    def _wait(self, process):
        while (self._folder / str(process.pid)).exists():
            time.sleep(0.01)
