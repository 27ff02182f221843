"""Taking the GPU memory of an idle process to host memory, and back: what the pool needs of a mechanism for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.processes import Process


class SuspensionError(ArmillaryError):
    """A process could not be suspended or restored.

    Parameters
    ----------
    what
        Why not.
    fatal
        Whether its state is lost: it can never run again.
    """

    def __init__(self, what: str, *, fatal: bool = False) -> None:
        super().__init__(what, "Restart the kernel." if fatal else "")
        self.fatal = fatal


class Suspender(Protocol):
    """A mechanism that suspends processes. Its calls block, each in a thread of its own.

    Attributes
    ----------
    moves
        Whether a process may come back on another device of the same kind.
    """

    moves: bool

    def refusal(self, process: Process) -> str | None:
        """Return why a process cannot be suspended, or None when it can. Answers at once."""

    def suspend(self, process: Process) -> None:
        """Free the devices of a process; it may do no work on them until it is restored.

        Raises
        ------
        SuspensionError
            If that cannot be done; the process runs on.
        """

    def restore(self, process: Process, devices: Mapping[str, str]) -> None:
        """Give a suspended process its devices back: ``devices`` maps the UUIDs that it had to those it has now.

        Raises
        ------
        SuspensionError
            If that cannot be done; unless fatal, it stays suspended.
        """

    def is_suspended(self, process: Process) -> bool:
        """Return whether a process is suspended, also after the pool was killed in the middle of it."""


class NoSuspender:
    """Nothing is suspended here: kernels keep their GPUs until they end."""

    moves = True

    def refusal(self, process: Process) -> str | None:
        """Say why not."""
        return "this machine cannot suspend processes"

    def suspend(self, process: Process) -> None:
        """Refuse."""
        raise SuspensionError("This machine cannot suspend processes.")

    def restore(self, process: Process, devices: Mapping[str, str]) -> None:
        """Refuse."""
        raise SuspensionError("This machine cannot restore processes.", fatal=True)

    def is_suspended(self, process: Process) -> bool:
        """Return that it is not."""
        return False


class SimulatedSuspender:
    """Suspends processes on pretend GPUs: there is nothing to save, so it only remembers which."""

    moves = True

    def __init__(self) -> None:
        self._suspended: set[Process] = set()

    def refusal(self, process: Process) -> str | None:
        """Refuse nothing."""
        return None

    def suspend(self, process: Process) -> None:
        """Remember it."""
        self._suspended.add(process)

    def restore(self, process: Process, devices: Mapping[str, str]) -> None:
        """Forget it."""
        self._suspended.discard(process)

    def is_suspended(self, process: Process) -> bool:
        """Return whether it is remembered."""
        return process in self._suspended
