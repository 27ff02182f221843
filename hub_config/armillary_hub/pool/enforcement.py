"""Who uses a GPU without a lease for it, or more of it than was shared out.

NVML lists the processes on each GPU. One that is neither the holder of a lease there nor was started by it is shown to
everybody and logged once, when two samples in a row have it. It is ended only where the admin says so
(``c.GpuSharing.stop_unleased``), and only if it belongs to a person of this deployment: in team mode to an account that
Armillary made, in solo mode to our own. What belongs to the machine is shown and left alone (a display server, another
account's process, one of another container whose pid means nothing here), and so is the pool with all that it runs in.
A process that takes more than its share is shown and logged, never ended: NVML counts the driver's own part, too.

In a container with pids of its own NVML may tell the host's: nothing is said of a pid whose process has no GPU open.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from armillary_kernels.processes import Process, parents

from armillary_hub.clusters.memory import families
from armillary_hub.pool.devices import GpuProcess
from armillary_hub.pool.machine import Machine
from armillary_hub.pool.pids import SEES_ALL_PIDS, is_on_gpu
from armillary_hub.pool.samples import SampleLog
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspension import in_a_thread

_log = logging.getLogger(__name__)

#: MiB that a process on a share may use beyond it: what the driver and its libraries take for themselves.
OVERHEAD = 1024

Reason = Literal["no lease", "more than its share"]


@dataclass(frozen=True)
class UnleasedUse:
    """Use of a GPU that no lease covers.

    Attributes
    ----------
    pid, account
        The process, and the Unix account that it runs as; empty where the process cannot be seen from here.
    uuid, memory
        The GPU, and MiB of it.
    since
        When it was seen first.
    reason
        Whether there is no lease for this GPU at all, or only for less of it.
    """

    pid: int
    account: str
    uuid: str
    memory: int
    since: datetime
    reason: Reason


@dataclass(frozen=True)
class _Offence:
    """What is the same from one sample to the next; no process where it cannot be seen from here."""

    pid: int
    process: Process | None
    uuid: str
    reason: Reason


class Enforcement:
    """What is found, and what is done about it.

    Parameters
    ----------
    store
        The books.
    samples
        What NVML said.
    machine
        Ends processes.
    may_end
        Whether processes of a uid are ended; None to end none.
    start
        How a process is ended beside everything else, for that takes seconds.
    """

    def __init__(
        self,
        store: LeaseStore,
        samples: SampleLog,
        machine: Machine,
        may_end: Callable[[int], bool] | None = None,
        start: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._store = store
        self._samples = samples
        self._machine = machine
        self._may_end = may_end
        self._start = start
        self._ending: set[Process] = set()
        self._seen: dict[_Offence, UnleasedUse] = {}
        self._confirmed: dict[_Offence, UnleasedUse] = {}

    @property
    def unleased(self) -> tuple[UnleasedUse, ...]:
        """What the last two samples both had."""
        return tuple(self._confirmed.values())

    def look(self) -> None:
        """Go through the last sample."""
        before, known, now = self._seen, self._confirmed, self._store.clock.now()
        self._seen = {
            offence: _use(offence, memory, before[offence].since if offence in before else now)
            for offence, memory in self._offences(self._samples.processes())
        }
        self._confirmed = {offence: use for offence, use in self._seen.items() if offence in before}
        for offence, use in self._confirmed.items():
            if offence not in known:
                whose = use.account or "an account that cannot be seen from here"
                _log.warning(
                    "Process %d of %s uses %d MiB of GPU %s: %s", use.pid, whose, use.memory, use.uuid, use.reason
                )
            self._end(offence)

    def _offences(self, processes: Sequence[GpuProcess]) -> Iterator[tuple[_Offence, int]]:
        """Yield what no lease covers, and how many MiB that is."""
        if not processes:
            return
        holding = [lease for lease in self._store.active() if lease.devices]
        trees = families({lease.holder.pid for lease in holding})
        covered: set[tuple[int, str]] = set()
        for lease in holding:
            pids = trees[lease.holder.pid]
            mine = [one for one in processes if one.uuid in lease.devices and one.pid in pids]
            covered.update((one.pid, one.uuid) for one in mine)
            used = sum(one.memory for one in mine)
            if lease.memory is not None and used > lease.memory + OVERHEAD:
                yield _offence(max(mine, key=lambda one: one.memory), "more than its share"), used
        for one in processes:
            if (one.pid, one.uuid) not in covered:
                offence = _offence(one, "no lease")
                if offence.process is not None or SEES_ALL_PIDS:
                    yield offence, one.memory

    def _end(self, offence: _Offence) -> None:
        """End a process that has no lease, if that is wanted and it is a person's."""
        process = offence.process
        if self._may_end is None or process is None or offence.reason != "no lease":
            return
        owner = process.owner()
        if process in self._ending or owner is None or not self._may_end(owner) or process.pid in _own_line():
            return
        _log.warning("Process %d is ended: it uses GPU %s without a lease", process.pid, offence.uuid)
        self._ending.add(process)
        self._start(partial(self._end_process, process))

    def _end_process(self, process: Process) -> None:
        try:
            self._machine.end(process)
        finally:
            self._ending.discard(process)


def _offence(one: GpuProcess, reason: Reason) -> _Offence:
    return _Offence(one.pid, Process.of(one.pid) if is_on_gpu(one.pid) else None, one.uuid, reason)


def _use(offence: _Offence, memory: int, since: datetime) -> UnleasedUse:
    return UnleasedUse(offence.pid, _account(offence.process), offence.uuid, memory, since, offence.reason)


def _account(process: Process | None) -> str:
    uid = process.owner() if process else None
    if uid is None:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _own_line() -> set[int]:
    """Return the pids of this process and of those that it runs in."""
    above, line = parents(), {os.getpid()}
    pid = os.getpid()
    while pid := above.get(pid, 0):
        line.add(pid)
    return line
