"""Taking the GPU memory of an idle process to host memory, and back: what the pool needs of a mechanism for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    A call that does what was done already, or half, does the rest: a pool that was killed in the middle of one makes it
    again.
    """

    @property
    def moves(self) -> bool:
        """Whether a process may come back on another device of the same kind."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be suspended here, or None."""

    def refusal(self, process: Process) -> str | None:
        """Return why a process cannot be suspended, or None when that can be tried. Answers at once."""

    def suspend(self, process: Process, devices: Sequence[str]) -> Mapping[str, int]:
        """Free the devices of a process; it may do no work on them until it is restored.

        Parameters
        ----------
        process
            The holder of a lease, which stands for all that it has started.
        devices
            UUIDs of the lease's devices.

        Returns
        -------
        dict of str to int
            MiB of each device that it will need again.

        Raises
        ------
        SuspensionError
            If that cannot be done; unless fatal, the process runs on.
        """

    def restore(self, process: Process, devices: Mapping[str, str], saved: Mapping[str, int]) -> None:
        """Give a suspended process devices again.

        Parameters
        ----------
        process
            The holder of a lease.
        devices
            The UUIDs of the devices that it had, and of those that it has now.
        saved
            What `suspend` returned.

        Raises
        ------
        SuspensionError
            If that cannot be done; unless fatal, it stays suspended.
        """


class NoSuspender:
    """Nothing is suspended here: kernels keep their GPUs until they end.

    Parameters
    ----------
    problem
        Why.
    """

    moves = True

    def __init__(self, problem: str = "this machine cannot suspend processes") -> None:
        self.problem = problem

    def refusal(self, process: Process) -> str | None:
        """Say why not."""
        return self.problem

    def suspend(self, process: Process, devices: Sequence[str]) -> Mapping[str, int]:
        """Refuse."""
        raise SuspensionError(f"Nothing can be suspended here: {self.problem}.")

    def restore(self, process: Process, devices: Mapping[str, str], saved: Mapping[str, int]) -> None:
        """Refuse."""
        raise SuspensionError(f"Nothing can be restored here: {self.problem}.")


class SimulatedSuspender:
    """Suspends processes on pretend GPUs: there is nothing to save, so there is nothing to do."""

    moves = True
    problem = None

    def refusal(self, process: Process) -> str | None:
        """Refuse nothing."""
        return None

    def suspend(self, process: Process, devices: Sequence[str]) -> Mapping[str, int]:
        """Do nothing."""
        return {}

    def restore(self, process: Process, devices: Mapping[str, str], saved: Mapping[str, int]) -> None:
        """Do nothing."""
