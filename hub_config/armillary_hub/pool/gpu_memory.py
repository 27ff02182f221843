"""GPU memory: how much of it processes use, and room for those that come back to it, one after another on each GPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from armillary_kernels.processes import Process

from armillary_hub.clusters.memory import resident
from armillary_hub.pool.cuda_calls import CudaState
from armillary_hub.pool.devices import Inventory, Readings

_MIB = 2**20


class NoRoomError(Exception):
    """There is not enough free GPU memory."""


@dataclass(frozen=True)
class Need:
    """How much GPU memory processes have.

    Attributes
    ----------
    total
        MiB of each GPU that all of them together have, or at least not less than that.
    known
        MiB of each GPU that each process has, for those of which NVML says it.
    """

    total: Mapping[str, int]
    known: Mapping[Process, Mapping[str, int]]

    def of(self, some: Iterable[Process]) -> dict[str, int]:
        """Return what is known that some of the processes have."""
        return {uuid: sum(self.known.get(one, {}).get(uuid, 0) for one in some) for uuid in self.total}


class GpuMemory:
    """The memory of this machine's GPUs.

    Parameters
    ----------
    inventory
        What asks NVML. Every method raises its `NvmlSilentError`.
    patience
        Seconds to wait for memory that becomes free.
    clock
        The monotonic clock.
    """

    def __init__(self, inventory: Inventory, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._inventory = inventory
        self._patience = patience
        self._clock = clock
        self._locks: dict[str, threading.Lock] = {}

    def need(self, members: Mapping[Process, CudaState], devices: Sequence[str]) -> Need:
        """Return how much of some GPUs processes have now, or have saved."""
        readings = self._readings()
        known: dict[Process, dict[str, int]] = {}
        by_pid = {member.pid: member for member in members}
        for one in readings.processes:
            if one.memory and one.pid in by_pid and one.uuid in devices:
                sizes = known.setdefault(by_pid[one.pid], dict.fromkeys(devices, 0))
                sizes[one.uuid] += one.memory
        total = {uuid: sum(sizes[uuid] for sizes in known.values()) for uuid in devices}
        used = {one.uuid: one.memory for one in readings.devices}
        for member, state in members.items():
            if state == "checkpointed":  # half done when the pool was killed: what it saved is part of its memory
                total = {uuid: size + resident(member.pid) // _MIB for uuid, size in total.items()}
            elif member not in known:  # NVML does not say of it: all that is used there may be its
                total = {uuid: max(size, used.get(uuid, 0)) for uuid, size in total.items()}
        return Need(total, known)

    def saved(self, need: Need, members: Collection[Process]) -> dict[str, int]:
        """Return what processes that have just been suspended will need to come back, which can always be had.

        What was reckoned generously may be more than there ever is; what is free now they have just left.
        """
        if all(member in need.known for member in members):
            return dict(need.total)
        free = {one.uuid: one.free for one in self._readings().devices}
        return {uuid: min(size, free.get(uuid, size)) for uuid, size in need.total.items()}

    def has(self, pids: Collection[int], devices: Collection[str]) -> bool:
        """Return whether processes are still on some GPUs, after a while in which they might go."""
        deadline = self._clock() + self._patience
        while any(one.pid in pids and one.uuid in devices for one in self._readings().processes):
            if self._clock() > deadline:
                return True
            self._pause()
        return False

    @contextmanager
    def room(self, needed: Mapping[str, int]) -> Iterator[None]:
        """Wait until there is room, and let nobody else come back to these GPUs until it is taken.

        A process that has just ended lets its memory go a little later.

        Raises
        ------
        NoRoomError
            If there is none in time.
        """
        with ExitStack() as alone:
            for uuid in sorted(needed):  # in this order always, so that no two wait for each other
                alone.enter_context(self._locks.setdefault(uuid, threading.Lock()))
            self._wait_for(needed)
            yield

    def _wait_for(self, needed: Mapping[str, int]) -> None:
        deadline = self._clock() + self._patience
        while short := self._short(needed):
            if self._clock() > deadline:
                uuid, there = short[0]
                raise NoRoomError(f"{there} MiB of the GPU {uuid} are free, and {needed[uuid]} MiB are needed")
            self._pause()

    def _short(self, needed: Mapping[str, int]) -> list[tuple[str, int]]:
        """Return the GPUs that have too little, and how much they have."""
        if not any(needed.values()):
            return []
        free = {one.uuid: one.free for one in self._readings().devices}
        return [(uuid, free.get(uuid, 0)) for uuid, need in needed.items() if free.get(uuid, 0) < need]

    def _pause(self) -> None:
        time.sleep(min(0.5, self._patience / 4))

    def _readings(self) -> Readings:
        return self._inventory.readings() or Readings()
