"""The processes that hold leases, as the pool sees them: whose they are, whether they live, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Protocol

from armillary_kernels.processes import Process

from armillary_hub.accounts.unix_accounts import account_of
from armillary_hub.pool.family import Family
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

    def end_family(self, family: Family) -> None:
        """End the holder of a lease, then all that it has started."""

    def kill_left_behind(self, family: Family) -> bool:
        """Kill what a holder that has ended left behind; return whether any of it still runs. Does not wait."""


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
        _end([process])

    def end_family(self, family: Family) -> None:
        """End the holder by SIGTERM, then SIGKILL, so that it starts no others; then the rest likewise."""
        members = family.members()
        _end([family.holder])
        _end({*members, *family.members()} - {family.holder})

    def kill_left_behind(self, family: Family) -> bool:
        """Send SIGKILL: who watched over them can tell them nothing any more."""
        left = [] if family.holder.is_alive() else family.members()
        with ExitStack() as handles:
            for process, handle in _opened(left, handles).items():
                _send(process, handle, signal.SIGKILL)
        return bool(left)


def _end(processes: Iterable[Process]) -> None:
    with ExitStack() as handles:
        opened = _opened(processes, handles)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process, handle in opened.items():
                _send(process, handle, number)
            _wait_for_end(opened)


def _opened(processes: Iterable[Process], handles: ExitStack) -> dict[Process, int]:
    """Return a descriptor of each process that is there: a signal through it reaches no other with its pid."""
    opened = {}
    for process in processes:
        with suppress(ProcessLookupError):
            opened[process] = os.pidfd_open(process.pid)
            handles.callback(os.close, opened[process])
    return opened


def _send(process: Process, handle: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if process.is_alive():
            signal.pidfd_send_signal(handle, number)


def _wait_for_end(processes: Iterable[Process]) -> None:
    deadline = time.monotonic() + TERMINATION_GRACE
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
