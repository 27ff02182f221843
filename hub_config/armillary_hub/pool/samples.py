"""What the GPUs did lately: memory and utilisation of each, and which processes are on it; kept for an hour.

NVML tells it of real GPUs. Of a pretend one (`--simulate-gpus`) the books do: it is as busy as its holder's kernel.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from armillary_hub.pool.devices import GpuProcess, NvmlSilentError, Reading, Readings
from armillary_hub.pool.pids import is_here
from armillary_hub.pool.records import BookedDevice, Lease

_log = logging.getLogger(__name__)

Span = tuple[datetime, datetime]

#: How long samples are kept.
KEPT = timedelta(hours=1)


@dataclass(frozen=True)
class DeviceSample:
    """One GPU at one moment.

    Attributes
    ----------
    at
        When, in the books' time.
    uuid
        Which.
    memory
        MiB in use, by whomever.
    utilisation
        The part of the time since the last sample in which it worked, 0 to 1; None where nobody says (MIG instances).
    """

    at: datetime
    uuid: str
    memory: int
    utilisation: float | None


class SampleLog:
    """The samples of the last hour, and the processes of the last one. Threads may share it.

    Parameters
    ----------
    kept
        How long samples are kept.
    """

    def __init__(self, kept: timedelta = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._samples: dict[str, deque[DeviceSample]] = {}
        self._processes: tuple[GpuProcess, ...] = ()
        self._worked: dict[tuple[int, str], Span] = {}
        self._gpus_worked: dict[str, Span] = {}
        self._taken: datetime | None = None

    @property
    def taken(self) -> datetime | None:
        """When the last sample was taken; None before the first."""
        return self._taken

    def add(self, at: datetime, samples: Sequence[DeviceSample], processes: Sequence[GpuProcess] = ()) -> None:
        """Keep a sample, and drop what is too old."""
        with self._lock:
            for sample in samples:
                self._samples.setdefault(sample.uuid, deque()).append(sample)
            for uuid, kept in list(self._samples.items()):
                while kept and kept[0].at < at - self._kept:
                    kept.popleft()
                if not kept:
                    del self._samples[uuid]
            told = (self._taken or at, at)  # what a sample tells of is between the one before and it
            here = {(one.pid, one.uuid) for one in processes}
            self._worked = {key: when for key, when in self._worked.items() if key in here}
            self._worked |= {(one.pid, one.uuid): told for one in processes if one.utilisation}
            self._gpus_worked |= {one.uuid: told for one in samples if one.utilisation}
            self._processes, self._taken = tuple(processes), at

    def of(self, uuid: str) -> tuple[DeviceSample, ...]:
        """Return a GPU's samples, oldest first."""
        with self._lock:
            return tuple(self._samples.get(uuid, ()))

    def latest(self) -> dict[str, DeviceSample]:
        """Return each GPU's last sample, by UUID; without those that the last sample left out."""
        with self._lock:
            return {uuid: kept[-1] for uuid, kept in self._samples.items() if kept[-1].at == self._taken}

    def processes(self) -> tuple[GpuProcess, ...]:
        """Return the processes that were on the GPUs at the last sample."""
        return self._processes

    def last_worked(self, pids: Collection[int], uuid: str, *, alone: bool) -> Span | None:
        """Return from when until when processes made a GPU work for the last time; None if they did not.

        Parameters
        ----------
        pids
            The processes.
        uuid
            The GPU.
        alone
            Whether nobody else uses the GPU: then its own utilisation tells, where NVML says nothing of processes, or
            in a container lists none, or the host's pids.
        """
        with self._lock:
            listed = [one for one in self._processes if one.uuid == uuid]
            mine = [one for one in listed if one.pid in pids]
            if any(one.utilisation is not None for one in mine):
                spans = (self._worked.get((one.pid, uuid)) for one in mine)
                return max((span for span in spans if span is not None), default=None)
            others = not mine and any(is_here(one.pid) for one in listed)
            return self._gpus_worked.get(uuid) if alone and not others else None


class Source(Protocol):
    """Where samples come from."""

    def readings(self) -> Readings | None:
        """Return what the GPUs do now; None for pretend ones, of which the books tell."""


class Sampler:
    """Takes samples of the GPUs.

    Parameters
    ----------
    source
        The inventory, which asks NVML.
    store
        The books: a `armillary_hub.pool.store.LeaseStore`.
    log
        Where samples go.
    """

    def __init__(self, source: Source, store: Any, log: SampleLog) -> None:
        self._source = source
        self._store = store
        self._log = log

    def take(self) -> None:
        """Take one. Where NVML is silent there is none; the inventory says so in the log."""
        try:
            found = self._source.readings()
        except NvmlSilentError as error:
            _log.debug("No sample of the GPUs: %s", error)
            return
        now = self._store.clock.now()
        if found is None:
            situation = self._store.situation()
            found = pretended(situation.leases, situation.devices, self._log.taken, now)
        samples = [DeviceSample(now, one.uuid, one.memory, one.utilisation) for one in found.devices]
        self._log.add(now, samples, found.processes)


def pretended(
    leases: Iterable[Lease], devices: Sequence[BookedDevice], before: datetime | None, now: datetime
) -> Readings:
    """Return what pretend GPUs do: each holder uses the memory it was given, and works as its kernel says."""
    memory, busy = dict.fromkeys((one.uuid for one in devices), 0), dict.fromkeys((one.uuid for one in devices), 0.0)
    sizes = {one.uuid: one.memory for one in devices}
    processes = []
    for lease in leases:
        for uuid in lease.devices if lease.in_use else ():
            share = _busy(lease, before, now)
            used = lease.memory or sizes.get(uuid, 0)
            memory[uuid] = memory.get(uuid, 0) + used
            busy[uuid] = max(busy.get(uuid, 0.0), share)
            processes.append(GpuProcess(lease.holder.pid, uuid, used, share))
    return Readings(tuple(Reading(uuid, memory[uuid], busy[uuid]) for uuid in memory), tuple(processes))


def _busy(lease: Lease, before: datetime | None, now: datetime) -> float:
    """Return the part of the time since the last sample in which a holder was busy."""
    begun = max(moment for moment in (before or now - timedelta(seconds=1), lease.granted_at) if moment is not None)
    if lease.idle_since is None:
        return 1.0
    lasted = (now - begun).total_seconds()
    return max(0.0, min(1.0, (lease.idle_since - begun).total_seconds() / lasted)) if lasted > 0 else 0.0
