"""Taking the GPU memory of an idle process to host memory, and back: what the pool needs of a mechanism for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.processes import Process

from armillary_hub.pool.family import Family

#: What a failed step leaves: a process that is what it was before the step; one whose state is lost, so that it can
#: never run again; or one of which nobody knows now whether, or how far, the step was taken.
Outcome = Literal["unchanged", "lost", "unknown"]


class SuspensionError(ArmillaryError):
    """A process could not be suspended or restored.

    Parameters
    ----------
    what
        Why not.
    outcome
        What has become of it.
    """

    def __init__(self, what: str, outcome: Outcome = "unchanged") -> None:
        super().__init__(what, "Restart the kernel." if outcome == "lost" else "")
        self.outcome = outcome


class Suspender(Protocol):
    """A mechanism that suspends processes. Its calls block, each in a thread of its own.

    A call that does what was done already, or half, does the rest: a step whose outcome is unknown, or in which the
    pool was killed, is taken ``again``. Only then may it have been taken before, whole or in part.
    """

    @property
    def moves(self) -> bool:
        """Whether a process may come back on another device of the same kind."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be suspended here, or None."""

    def refusal(self, process: Process) -> str | None:
        """Return why a process cannot be suspended, or None when that can be tried. Answers at once."""

    def suspend(self, family: Family, devices: Sequence[str], *, again: bool = False) -> Mapping[str, int]:
        """Free the devices of processes; they may do no work on them until they are restored.

        Parameters
        ----------
        family
            The processes of a lease.
        devices
            UUIDs of the lease's devices.
        again
            Whether the step was begun before.

        Returns
        -------
        dict of str to int
            MiB of each device that it will need again.

        Raises
        ------
        SuspensionError
            If that cannot be done.
        """

    def restore(
        self, family: Family, devices: Mapping[str, str], saved: Mapping[str, int], *, again: bool = False
    ) -> None:
        """Give suspended processes devices again.

        Parameters
        ----------
        family
            The processes of a lease.
        devices
            The UUIDs of the devices that they had, and of those that they have now.
        saved
            What `suspend` returned.
        again
            Whether the step was begun before.

        Raises
        ------
        SuspensionError
            If that cannot be done.
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

    def suspend(self, family: Family, devices: Sequence[str], *, again: bool = False) -> Mapping[str, int]:
        """Refuse."""
        raise SuspensionError(f"Nothing can be suspended here: {self.problem}.", "unknown" if again else "unchanged")

    def restore(
        self, family: Family, devices: Mapping[str, str], saved: Mapping[str, int], *, again: bool = False
    ) -> None:
        """Refuse."""
        raise SuspensionError(f"Nothing can be restored here: {self.problem}.", "unknown" if again else "unchanged")


class SimulatedSuspender:
    """Suspends processes on pretend GPUs: there is nothing to save, so there is nothing to do.

    Parameters
    ----------
    unwanted
        Why none is suspended any more, though those that are still come back; None where they are.
    """

    moves = True

    def __init__(self, unwanted: str | None = None) -> None:
        self.problem = unwanted

    def refusal(self, process: Process) -> str | None:
        """Refuse nothing else."""
        return self.problem

    def suspend(self, family: Family, devices: Sequence[str], *, again: bool = False) -> Mapping[str, int]:
        """Do nothing."""
        return {}

    def restore(
        self, family: Family, devices: Mapping[str, str], saved: Mapping[str, int], *, again: bool = False
    ) -> None:
        """Do nothing."""
