"""Suspends processes that use CUDA: their GPU memory goes to host memory by the driver's checkpoint calls, and back.

A lease's holder and all that it has started are one: either all of them that use CUDA are suspended, or none is. Where
something is refused, whatever was done before it is undone. What a process is, only the driver knows, so every step
begins with asking it, and a step that the pool was killed in the middle of is simply taken again. Where the driver does
not say how a step has ended, its outcome is unknown, and is found out when the step is taken again.

What would lose the state for good is checked before it is tried: host memory before GPU memory is copied to it, and
free GPU memory before it is copied back. A restore that finds too little is fatal: the driver (580) leaves the process
suspended, and refuses every later restore of it (https://github.com/NVIDIA/cuda-checkpoint/issues/44).

The whole life cycle was seen on an H200 with driver 580.159.04 (``tests/gpu``): a kernel with 4 GiB goes out in
about 3 s and comes in again in about 1.5 s. ``benchmarks/gpu_suspension.py`` sets that beside the driver's bare calls.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from armillary_kernels.processes import Process

from armillary_hub.pool.backoff import Backoff
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
from armillary_hub.pool.cuda_states import CannotError, are, has_a_gpu_open, in_state, users_of, wait_for_calls
from armillary_hub.pool.devices import Inventory, NvmlSilentError
from armillary_hub.pool.family import Family
from armillary_hub.pool.gpu_memory import GpuMemory, NoRoomError
from armillary_hub.pool.host_memory import HostMemory, NotEnoughMemoryError
from armillary_hub.pool.suspender import Outcome, SuspensionError

_log = logging.getLogger(__name__)

#: Seconds until a process that could not be suspended is tried again; twice as long after each failure, up to the most.
FIRST_BACKOFF, LONGEST_BACKOFF = 60.0, 3600.0

#: Seconds until a driver that does not say its version is asked again.
ASK_AGAIN = 60.0

#: Seconds to wait for GPU memory that a process which is ending still holds.
ROOM_PATIENCE = 20.0

#: What the driver says of a restore after which no other succeeds.
_LOST = ("CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_OPERATING_SYSTEM")


#: What may come between.
_TROUBLE = (
    DriverRefusedError,
    DriverSilentError,
    NvmlSilentError,
    NotEnoughMemoryError,
    NoRoomError,
    CannotError,
)


@dataclass
class _Known:
    """What is known of processes while a step is taken: the outcome, if it goes no further."""

    outcome: Outcome


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
    unwanted
        Why none is suspended any more, though those that are still come back; None where they are.
    """

    def __init__(
        self,
        inventory: Inventory,
        memory: HostMemory | None = None,
        *,
        unwanted: str | None = None,
        command: Sequence[str] = COMMAND,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        room_patience: float = ROOM_PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inventory = inventory
        self._memory = memory or HostMemory()
        self._unwanted = unwanted
        self._command = tuple(command)
        self._patience = patience
        self._gpus = GpuMemory(inventory, room_patience, clock)
        self._clock = clock
        self._backoff = Backoff(FIRST_BACKOFF, LONGEST_BACKOFF, clock)
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
        return self._unwanted or self._problem

    def refusal(self, process: Process) -> str | None:
        """Return why a process cannot be suspended, or None when that can be tried. Asks nobody who may be slow."""
        why = self.problem or self._backoff.why(process)
        return why or ("it was stopped by a signal" if process.is_stopped() else None)

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

    def suspend(self, family: Family, devices: Sequence[str], *, again: bool = False) -> dict[str, int]:
        """Free the GPUs of processes.

        Parameters
        ----------
        family
            The processes of a lease.
        devices
            UUIDs of the lease's GPUs.
        again
            Whether that was begun before.

        Returns
        -------
        dict of str to int
            How many MiB of each GPU were saved, and will be needed again.

        Raises
        ------
        SuspensionError
            If that cannot be done. It is not tried again for a while.
        """
        known = _Known("unknown" if again else "unchanged")
        try:
            with self._explained(family.holder, known), self._calls() as calls:
                saved = self._suspend(family, calls, devices, known)
        except SuspensionError as error:
            if error.outcome == "unchanged":
                self._backoff.add(family.holder, error.what)
            raise
        self._backoff.forget(family.holder)
        return saved

    def _suspend(self, family: Family, calls: CudaCalls, devices: Sequence[str], known: _Known) -> dict[str, int]:
        users = users_of(calls, family)
        if set(users.values()) <= {"running"}:
            known.outcome = "unchanged"
        if not users:
            self._check_without_cuda(family, devices)
            return {}
        need = self._gpus.need(users, devices)
        known.outcome = "unknown"
        try:
            self._save(calls, users, need.total)
            if self._gpus.has({member.pid for member in family.members()}, devices):
                raise CannotError("a part of it stays on the GPU when it is suspended")
            return self._gpus.saved(need, users)
        except _TROUBLE:
            wait_for_calls(calls, users)
            suspended = in_state(calls, users, "checkpointed")
            self._bring_back(calls, users, suspended, {}, need.of(suspended), known)
            known.outcome = "unchanged"
            raise

    def _check_without_cuda(self, family: Family, devices: Sequence[str]) -> None:
        """Refuse processes of which the driver knows nothing, and which are on a GPU all the same."""
        members = family.members()
        pids = {member.pid for member in members}
        if any(map(has_a_gpu_open, members)) or self._gpus.has(pids, devices):
            raise CannotError("it uses a GPU otherwise than by CUDA")

    def _save(self, calls: CudaCalls, users: Mapping[Process, CudaState], need: Mapping[str, int]) -> None:
        """Suspend all of them, in whatever state they are."""
        left = [member for member, state in users.items() if state != "checkpointed"]
        total = sum(need.values())
        with self._memory.reserved(total, [member.pid for member in left]) if left else nullcontext():
            try:
                self._take(calls, users, total)
            except (DriverRefusedError, DriverSilentError):
                if not are(calls, users, "checkpointed"):
                    raise  # else the answer was lost, not the deed

    def _take(self, calls: CudaCalls, members: Iterable[Process], total: int) -> None:
        for member in in_state(calls, members, "running"):
            calls.lock(member.pid)
        for member in in_state(calls, members, "locked"):
            calls.checkpoint(member.pid, total)
        if not are(calls, members, "checkpointed"):
            raise CannotError("the driver has not suspended it, and does not say why")

    # Restoring -----------------------------------------------------------------------------------------------

    def restore(
        self, family: Family, devices: Mapping[str, str], saved: Mapping[str, int], *, again: bool = False
    ) -> None:
        """Give suspended processes GPUs again.

        Parameters
        ----------
        family
            The processes of a lease.
        devices
            UUIDs of the GPUs that they had, and of those that they have now.
        saved
            What `suspend` returned.
        again
            Whether that was begun before.

        Raises
        ------
        SuspensionError
            If that cannot be done: either all of them run, or none does.
        """
        known = _Known("unknown" if again else "unchanged")
        with self._explained(family.holder, known), self._calls() as calls:
            self._restore(calls, users_of(calls, family), devices, saved, known)

    def _restore(
        self,
        calls: CudaCalls,
        users: Mapping[Process, CudaState],
        devices: Mapping[str, str],
        saved: Mapping[str, int],
        known: _Known,
    ) -> None:
        suspended = [member for member, state in users.items() if state == "checkpointed"]
        known.outcome = "unchanged" if suspended == [*users] else "unknown"
        pairs = {old: new for old, new in devices.items() if old != new} if suspended else {}
        if pairs and not self._can_move():
            raise CannotError("the driver cannot move it to another GPU")
        needed = self._still_needed(saved, pairs, users, suspended) if suspended else {}
        try:
            self._bring_back(calls, users, suspended, pairs, needed, known)
        except _TROUBLE:
            if known.outcome == "unchanged" or not self._is_away(calls, users, pairs, saved):
                raise
            known.outcome = "unchanged"
            raise

    def _still_needed(
        self,
        saved: Mapping[str, int],
        pairs: Mapping[str, str],
        users: Mapping[Process, CudaState],
        suspended: Collection[Process],
    ) -> dict[str, int]:
        """Return what those that are suspended need, where the others came back before the pool was killed."""
        back = {member: state for member, state in users.items() if member not in suspended}
        if not back:
            return dict(saved)
        has = self._gpus.need(back, [pairs.get(uuid, uuid) for uuid in saved]).of(back)
        return {uuid: max(0, size - has[pairs.get(uuid, uuid)]) for uuid, size in saved.items()}

    def _can_move(self) -> bool:
        if self._problem is not None:
            self.look_at_driver()
        return self._moves

    def _bring_back(
        self,
        calls: CudaCalls,
        users: Collection[Process],
        suspended: Iterable[Process],
        pairs: Mapping[str, str],
        needed: Mapping[str, int],
        known: _Known,
    ) -> None:
        """Let processes run again, those too that are suspended."""
        with self._gpus.room({pairs.get(uuid, uuid): size for uuid, size in needed.items()}):
            known.outcome = "unknown"
            for member in suspended:
                self._bring_one_back(calls, member, sum(needed.values()), pairs)
        try:
            for member in in_state(calls, users, "locked"):
                calls.unlock(member.pid)
        except (DriverRefusedError, DriverSilentError):
            if not are(calls, users, "running"):
                raise  # else the answer was lost, not the deed
        if not are(calls, users, "running"):
            raise CannotError("the driver has not restored it, and does not say why")

    def _bring_one_back(self, calls: CudaCalls, member: Process, total: int, pairs: Mapping[str, str]) -> None:
        try:
            calls.restore(member.pid, total, pairs)
        except DriverRefusedError as error:
            if not member.is_alive():
                return
            if error.name in _LOST:
                what = f"Its state was lost when it was to be restored: {error.name}."
                raise SuspensionError(what, "lost") from error
            raise

    def _is_away(
        self, calls: CudaCalls, users: Collection[Process], pairs: Mapping[str, str], saved: Mapping[str, int]
    ) -> bool:
        """Suspend those again that were restored before another could not be; return whether none is on a GPU.

        Those that were moved stay where they are: suspended anew, they would come from another GPU than the books say.
        """
        wait_for_calls(calls, users)
        if pairs and not are(calls, users, "checkpointed"):
            return False
        self._take(calls, users, sum(saved.values()))
        return not self._gpus.has({member.pid for member in users}, {pairs.get(uuid, uuid) for uuid in saved})

    # Within --------------------------------------------------------------------------------------------------

    def _calls(self) -> CudaCalls:
        return CudaCalls(self._command, self._patience)

    @contextmanager
    def _explained(self, process: Process, known: _Known) -> Iterator[None]:
        """Turn what can go wrong into a SuspensionError; a process that has ended explains everything."""
        try:
            yield
        except (*_TROUBLE, SuspensionError) as error:
            if not process.is_alive():
                raise SuspensionError("The process has ended.", "lost") from error
            if isinstance(error, SuspensionError):
                raise
            what = str(error)
            raise SuspensionError(f"{what[:1].upper()}{what[1:]}.", known.outcome) from error
        if not process.is_alive():
            raise SuspensionError("The process has ended.", "lost")
