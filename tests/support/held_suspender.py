"""Suspending that lasts for as long as a test wants, also over the death of the pool that does it."""

from __future__ import annotations

import time
from pathlib import Path

from armillary_hub.pool.suspender import SimulatedSuspender


class HeldSuspender(SimulatedSuspender):
    """Works on a process until nothing holds it any more: a file in a folder, named by the process's pid."""

    def __init__(self, folder):
        super().__init__()
        self._folder = Path(folder)

    def suspend(self, family, devices, *, again=False):
        self._wait(family.holder)
        return super().suspend(family, devices, again=again)

    def restore(self, family, devices, saved, *, again=False):
        self._wait(family.holder)
        super().restore(family, devices, saved, again=again)

    def _wait(self, process):
        while (self._folder / str(process.pid)).exists():
            time.sleep(0.01)
