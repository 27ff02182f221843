"""The processes that hold leases, as the pool sees them: whose they are, whether they live, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from typing import Protocol

from armillary_kernels.processes import Process

#: Seconds that a process gets to end by itself when an admin takes its GPUs.
TERMINATION_GRACE = 5.0


class Machine(Protocol):
    """What the pool asks about processes."""

    def owner(self, process: Process) -> int | None:
        """Return the uid of its account, or None when it has ended."""

    def is_alive(self, process: Process) -> bool:
        """Return whether it still runs."""

    def end(self, process: Process) -> None:
        """End it, and no other that got its pid."""


class ThisMachine:
    """The processes of this machine."""

    def owner(self, process: Process) -> int | None:
        """Return the uid of its account, or None when it has ended."""
        return process.owner()

    def is_alive(self, process: Process) -> bool:
        """Return whether it still runs."""
        return process.is_alive()

    def end(self, process: Process) -> None:
        """End it by SIGTERM, then SIGKILL."""
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.is_alive():
                    signal.pidfd_send_signal(handle, number)
                    _wait_for_end(process)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)


def _wait_for_end(process: Process) -> None:
    deadline = time.monotonic() + TERMINATION_GRACE
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
