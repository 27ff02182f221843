"""The holder of a lease and all that it has started: they use its GPUs, are suspended and end together.

Who holds a lease of its own is no part of it, nor what that one has started: a job that was begun in a kernel goes on
when the kernel is suspended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from armillary_kernels.processes import Process, left_behind

from armillary_hub.clusters.memory import families
from armillary_hub.pool.records import Lease


@dataclass(frozen=True)
class Family:
    """The processes of one lease.

    Attributes
    ----------
    holder
        The process on whose life the lease depends.
    apart
        The holders of other leases.
    """

    holder: Process
    apart: frozenset[Process] = frozenset()

    @classmethod
    def of(cls, lease: Lease, standing: Iterable[Lease]) -> Self:
        """Return the family of one of the leases that stand."""
        return cls(lease.holder, frozenset(one.holder for one in standing) - {lease.holder})

    def members(self) -> list[Process]:
        """Return those alive, the holder first; of one that has ended what it left behind, as far as that is known."""
        if not self.holder.is_alive():
            return self._without_others({one.pid: one for one in left_behind(self.holder)})
        pids = families({self.holder.pid})[self.holder.pid] - {self.holder.pid}
        started = {pid: process for pid in sorted(pids) if (process := Process.of(pid)) is not None}
        return [self.holder, *self._without_others(started)]

    def _without_others(self, started: Mapping[int, Process]) -> list[Process]:
        others = {one.pid for one in self.apart & set(started.values())}
        theirs = set().union(*families(others).values()) if others else set()
        return [process for pid, process in started.items() if pid not in theirs]


def own_pids(holders: Iterable[int]) -> dict[int, set[int]]:
    """Return the pids of the family of each of all holders, found in one look at the machine's processes."""
    trees = families(set(holders))
    return {
        holder: tree.difference(*(trees[other] for other in trees.keys() & tree if other != holder))
        for holder, tree in trees.items()
    }
