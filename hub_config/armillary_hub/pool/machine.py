"""The processes that hold leases, as the pool sees them: whose they are, whether they live, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from armillary_kernels.processes import Process

from armillary_hub.accounts.unix_accounts import account_of
from armillary_hub.settings import Settings

#: Seconds that a process gets to end by itself when an admin takes its GPUs.
TERMINATION_GRACE = 5.0

AccountOf = Callable[[str], int]


def accounts(settings: Settings) -> AccountOf:
    """Return the function from a hub user to the uid of the account that the user's processes run as.

    It raises `armillary_hub.accounts.errors.AccountError` for a user without one.
    """
    if settings.mode == "solo":
        own = os.getuid()
        return lambda user: own
    return lambda user: account_of(settings, user).pw_uid


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
