"""What the processes of a lease are for the CUDA driver."""

from __future__ import annotations

from collections.abc import Iterable

from armillary_kernels.gpu_environment import uses_cuda
from armillary_kernels.processes import Process

from armillary_hub.pool.cuda_calls import CudaCalls, CudaState, DriverRefusedError
from armillary_hub.pool.family import Family
from armillary_hub.pool.suspender import SuspensionError


class CannotError(Exception):
    """Something about the processes themselves stands in the way."""


def users_of(calls: CudaCalls, family: Family) -> dict[Process, CudaState]:
    """Return the processes of a family that use CUDA, once a call that a killed pool has left behind has ended."""
    members = family.members()
    if any(member.is_stopped() for member in members):
        # The driver would wait for it for ever.
        raise CannotError("it, or a process that it started, was stopped by a signal")
    found = [member for member, state in states(calls, members).items() if state != "none"]
    wait_for_calls(calls, found)
    return states(calls, found)


def wait_for_calls(calls: CudaCalls, members: Iterable[Process]) -> None:
    """Wait until calls have ended that nobody waited for any longer: until then no state can be relied on."""
    for member in members:
        try:
            calls.wait(member.pid)
        except DriverRefusedError:
            if member.is_alive():
                raise


def states(calls: CudaCalls, members: Iterable[Process]) -> dict[Process, CudaState]:
    """Return what the driver says of those that are alive.

    Raises
    ------
    SuspensionError
        If one of them is lost.
    """
    found: dict[Process, CudaState] = {}
    for member in members:
        try:
            state = calls.state(member.pid)
        except DriverRefusedError:
            if member.is_alive():
                raise
        else:
            if member.is_alive():
                found[member] = state
    if "failed" in found.values():
        raise SuspensionError("Its state on the GPU was lost.", "lost")
    return found


def in_state(calls: CudaCalls, members: Iterable[Process], state: CudaState) -> list[Process]:
    """Return those that are alive and in a state."""
    return [member for member, now in states(calls, members).items() if now == state]


def are(calls: CudaCalls, members: Iterable[Process], state: CudaState) -> bool:
    """Return whether all that are alive are in a state."""
    return set(states(calls, members).values()) <= {state}


def has_a_gpu_open(process: Process) -> bool:
    """Return whether a process has a GPU open, or may have one."""
    try:
        return uses_cuda(process.pid)
    except OSError:
        return process.is_alive()  # who may not be looked into may have one
