"""Suspends processes that use CUDA: their GPU memory goes to host memory by the driver's checkpoint calls, and back.

A lease's holder and all that it has started are one: either all of them that use CUDA are suspended, or none is. Where
something is refused, whatever was done before it is undone. What a process is, only the driver knows, so every step
begins with asking it, and a step that the pool was killed in the middle of is simply taken again.

What would lose the state for good is checked before it is tried: host memory before GPU memory is copied to it, and
free GPU memory before it is copied back (a restore that finds too little is fatal).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from armillary_kernels.processes import Process

from armillary_hub.clusters.memory import families, resident
from armillary_hub.pool.cuda_calls import (
    COMMAND,
    FIRST,
    FIRST_THAT_MOVES,
    CudaCalls,
    CudaState,
    DriverRefusedError,
    DriverSilentError,
    Patience,
)
from armillary_hub.pool.devices import Inventory, NvmlSilentError, Readings
from armillary_hub.pool.host_memory import HostMemory, NotEnoughMemoryError
from armillary_hub.pool.suspender import SuspensionError

_log = logging.getLogger(__name__)

#: Seconds until a process that could not be suspended is tried again; twice as long after each failure, up to the most.
FIRST_BACKOFF, LONGEST_BACKOFF = 60.0, 3600.0

#: Seconds until a driver that does not say its version is asked again.
ASK_AGAIN = 60.0

#: Seconds to wait for GPU memory that a process which is ending still holds.
ROOM_PATIENCE = 20.0

_MIB = 2**20


class CudaSuspender:
    """Suspends processes by CUDA's checkpoint calls.

    Parameters
    ----------
    inventory
        What asks NVML: how much memory processes use, and how much of a GPU's is free.
    memory
        The host's memory.
    command
        How the process that makes the driver's calls is started.
    patience
        For how long those are waited for.
    room_patience
        Seconds to wait for GPU memory to become free.
    clock
        The monotonic clock.
    """

    def __init__(
        self,
        inventory: Inventory,
        memory: HostMemory | None = None,
        *,
        command: Sequence[str] = COMMAND,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        room_patience: float = ROOM_PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inventory = inventory
        self._memory = memory or HostMemory()
        self._command = tuple(command)
        self._patience = patience
        self._room_patience = room_patience
        self._clock = clock
        self._backoffs: dict[Process, tuple[float, float, str]] = {}  # until when, for how long, why
        self._asking = threading.Lock()
        self._moves = False
        self._problem: str | None = "the CUDA driver has not been asked yet"
        self._ask_again = 0.0

    # What can be said at once ------------------------------------------------------------------------------

    @property
    def moves(self) -> bool:
        """Whether a process may come back on another GPU of the same kind."""
        self._ask_in_time()
        return self._moves

    @property
    def problem(self) -> str | None:
        """Why nothing can be suspended here, or None."""
        self._ask_in_time()
        return self._problem

    def refusal(self, process: Process) -> str | None:
        """Return why a process cannot be suspended, or None when that can be tried. Asks nobody who may be slow."""
        if self.problem is not None:
            return self.problem
        until, _, why = self._backoffs.get(process, (0.0, 0.0, ""))
        if self._clock() < until:
            return why
        return "it was stopped by a signal" if process.is_stopped() else None

    def _ask_in_time(self) -> None:
        if self._problem is not None and self._clock() >= self._ask_again:
            self._ask_again = self._clock() + ASK_AGAIN
            threading.Thread(target=self.look_at_driver, daemon=True).start()

    def look_at_driver(self) -> None:
        """Find out what the driver can do. Takes a while; what is wrong with it is said in the log once."""
        with self._asking:
            before, self._problem = self._problem, self._driver_problem()
        if self._problem not in (None, before):
            _log.warning("Idle kernels keep their GPUs: %s", self._problem)

    def _driver_problem(self) -> str | None:
        try:
            with self._calls() as calls:
                version = calls.version()
            divided = any(device.uuid.startswith("MIG-") for device in self._inventory.devices())
        except (DriverRefusedError, DriverSilentError, NvmlSilentError) as error:
            return f"the CUDA driver cannot be used ({error})"
        # Which instance of a divided GPU a process comes back to cannot be said to the driver.
        self._moves = version >= FIRST_THAT_MOVES and not divided
        return f"the NVIDIA driver {version} cannot suspend processes; {FIRST} can" if version < FIRST else None

    # Suspending ----------------------------------------------------------------------------------------------

    def suspend(self, process: Process, devices: Sequence[str]) -> dict[str, int]:
        """Free the GPUs of a process and of all that it has started.

        Parameters
        ----------
        process
            The holder of a lease.
        devices
            UUIDs of the lease's GPUs.

        Returns
        -------
        dict of str to int
            How many MiB of each GPU were saved, and will be needed again.

        Raises
        ------
        SuspensionError
            If that cannot be done. It is not tried again for a while.
        """
        try:
            with self._explained(process), self._calls() as calls:
                saved = self._suspend(process, calls, devices)
        except SuspensionError as error:
            if not error.fatal:
                self._back_off(process, error.what)
            raise
        self._backoffs.pop(process, None)
        return saved

    def _suspend(self, process: Process, calls: CudaCalls, devices: Sequence[str]) -> dict[str, int]:
        members = _users(calls, process)
        if not members:
            return {}
        saved = self._sizes(members, devices)
        total = sum(saved.values())
        with self._memory.reserved(total, [member.pid for member in members]):
            try:
                self._take(calls, members, total)
            except (DriverRefusedError, DriverSilentError):
                if self._are_suspended(calls, members):
                    return saved  # the answer was lost, not the deed
                self._undo(calls, members, saved)
                raise
        return saved

    def _take(self, calls: CudaCalls, members: Iterable[Process], total: int) -> None:
        for member in _in_state(calls, members, "running"):
            calls.lock(member.pid)
        for member in _in_state(calls, members, "locked"):
            calls.checkpoint(member.pid, total)

    def _undo(self, calls: CudaCalls, members: Iterable[Process], saved: Mapping[str, int]) -> None:
        """Let processes run on, those too that were suspended before another could not be."""
        try:
            self._bring_back(calls, members, {}, saved)
        except SuspensionError as error:
            what = f"A part of it was suspended and cannot be restored: {error.what}"
            raise SuspensionError(what, fatal=True) from error

    def _are_suspended(self, calls: CudaCalls, members: Iterable[Process]) -> bool:
        states = _states(calls, members)
        if "failed" in states.values():
            raise SuspensionError("Its state was lost when it was to be suspended.", fatal=True)
        return bool(states) and set(states.values()) == {"checkpointed"}

    def _sizes(self, members: Mapping[Process, CudaState], devices: Sequence[str]) -> dict[str, int]:
        """Return how many MiB of each GPU processes use, or at least not less than that."""
        readings = self._inventory.readings() or Readings()
        pids = {member.pid for member in members}
        used = dict.fromkeys(devices, 0)
        for one in readings.processes:
            if one.pid in pids and one.uuid in used:
                used[one.uuid] += one.memory
        listed = {one.pid for one in readings.processes if one.memory}
        for member, state in members.items():
            if state == "checkpointed":  # half done when the pool was killed: what it saved is part of its memory
                used = {uuid: size + resident(member.pid) // _MIB for uuid, size in used.items()}
            elif member.pid not in listed:  # NVML does not say of it: all that is used there may be its
                used = {uuid: max(size, _used(readings, uuid)) for uuid, size in used.items()}
        return used

    # Restoring -----------------------------------------------------------------------------------------------

    def restore(self, process: Process, devices: Mapping[str, str], saved: Mapping[str, int]) -> None:
        """Give a suspended process, and all that it has started, GPUs again.

        Parameters
        ----------
        process
            The holder of a lease.
        devices
            UUIDs of the GPUs that it had, and of those that it has now.
        saved
            What `suspend` returned.

        Raises
        ------
        SuspensionError
            If that cannot be done. Unless it is fatal, all of them stay suspended.
        """
        with self._explained(process), self._calls() as calls:
            members = _users(calls, process)
            if not members:
                return
            pairs = {old: new for old, new in devices.items() if old != new}
            if pairs and not self._moves:
                raise SuspensionError("The driver cannot move it to another GPU.")
            self._bring_back(calls, members, pairs, saved)

    def _bring_back(
        self, calls: CudaCalls, members: Iterable[Process], pairs: Mapping[str, str], saved: Mapping[str, int]
    ) -> None:
        """Let processes run again, in whatever state they are; where one cannot, none does."""
        total = sum(saved.values())
        suspended = _in_state(calls, members, "checkpointed")
        if suspended:
            self._wait_for_room({pairs.get(uuid, uuid): size for uuid, size in saved.items()})
        try:
            for member in suspended:
                calls.restore(member.pid, total, pairs)
            for member in _in_state(calls, members, "locked"):
                calls.unlock(member.pid)
        except (DriverRefusedError, DriverSilentError) as error:
            if not self._run_again(calls, members, total, error):
                raise

    def _run_again(self, calls: CudaCalls, members: Iterable[Process], total: int, trouble: Exception) -> bool:
        """Return whether processes run although a call failed; where not all do, suspend those again that do.

        Raises
        ------
        SuspensionError
            If neither can be had, or nobody knows.
        """
        try:
            states = set(_states(calls, members).values())
            if states != {"running"}:
                self._take(calls, members, total)
                states = set(_states(calls, members).values())
        except (DriverRefusedError, DriverSilentError):
            states = {"changing"}
        if states == {"checkpointed"} and not self._are_on_gpus(members):
            return False
        if states == {"running"}:
            return True
        raise SuspensionError(f"Its state was lost when it was to be restored: {trouble}.", fatal=True) from trouble

    def _are_on_gpus(self, members: Iterable[Process]) -> bool:
        listed = {one.pid for one in (self._inventory.readings() or Readings()).processes}
        return any(member.pid in listed for member in members)

    def _wait_for_room(self, needed: Mapping[str, int]) -> None:
        """Wait for free GPU memory: a process that has just ended lets it go a little later."""
        sizes = {device.uuid: device.memory // _MIB for device in self._inventory.devices()}
        deadline = self._clock() + self._room_patience
        while True:
            free = {one.uuid: one.free for one in (self._inventory.readings() or Readings()).devices}
            # What was reckoned generously may be more than there ever is.
            short = [
                (uuid, free.get(uuid, 0), need)
                for uuid, need in needed.items()
                if free.get(uuid, 0) < min(need, sizes.get(uuid, need) * 9 // 10)
            ]
            if not short:
                return
            if self._clock() > deadline:
                uuid, there, need = short[0]
                what = f"{there} MiB of the GPU {uuid} are free, and {need} MiB are needed"
                raise SuspensionError(f"It stays suspended: {what}.")
            time.sleep(min(0.5, self._room_patience / 4))

    # Within --------------------------------------------------------------------------------------------------

    def _calls(self) -> CudaCalls:
        return CudaCalls(self._command, self._patience)

    @contextmanager
    def _explained(self, process: Process) -> Iterator[None]:
        """Turn what can go wrong into a SuspensionError; a process that has ended explains everything."""
        try:
            yield
        except (DriverRefusedError, DriverSilentError, NvmlSilentError, NotEnoughMemoryError, SuspensionError) as error:
            if not process.is_alive():
                raise SuspensionError("The process has ended.", fatal=True) from error
            if isinstance(error, SuspensionError):
                raise
            what = str(error)
            raise SuspensionError(f"{what[:1].upper()}{what[1:]}.") from error
        if not process.is_alive():
            raise SuspensionError("The process has ended.", fatal=True)

    def _back_off(self, process: Process, why: str) -> None:
        _, before, _ = self._backoffs.get(process, (0.0, FIRST_BACKOFF / 2, ""))
        lasting = min(LONGEST_BACKOFF, 2 * before)
        self._backoffs = {one: known for one, known in self._backoffs.items() if one.is_alive()}
        self._backoffs[process] = (self._clock() + lasting, lasting, why)


def _users(calls: CudaCalls, holder: Process) -> dict[Process, CudaState]:
    """Return the processes of a family that use CUDA.

    Raises
    ------
    SuspensionError
        If one of them is stopped, so that the driver would wait for it for ever; or lost.
    """
    pids = families([holder.pid])[holder.pid] if holder.is_alive() else set()
    members = [member for pid in sorted(pids) if (member := Process.of(pid)) is not None]
    if any(member.is_stopped() for member in members):
        raise SuspensionError("It, or a process that it started, was stopped by a signal.")
    users: dict[Process, CudaState] = {
        member: state for member, state in _states(calls, members).items() if state != "none"
    }
    for member in users:
        calls.wait(member.pid)
    users = _states(calls, users)
    if "failed" in users.values():
        raise SuspensionError("Its state on the GPU was lost.", fatal=True)
    return users


def _states(calls: CudaCalls, members: Iterable[Process]) -> dict[Process, CudaState]:
    """Return what the driver says of those that are alive."""
    states: dict[Process, CudaState] = {}
    for member in members:
        try:
            state = calls.state(member.pid)
        except DriverRefusedError:
            if member.is_alive():
                raise
        else:
            if member.is_alive():
                states[member] = state
    return states


def _in_state(calls: CudaCalls, members: Iterable[Process], state: CudaState) -> list[Process]:
    return [member for member, now in _states(calls, members).items() if now == state]


def _used(readings: Readings, uuid: str) -> int:
    return next((one.memory for one in readings.devices if one.uuid == uuid), 0)
