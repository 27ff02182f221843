"""Whether what says that it is idle is so: a kernel that runs no cell may still have work on its GPU."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from armillary_hub.pool.clock import BookClock
from armillary_hub.pool.family import own_pids
from armillary_hub.pool.records import Lease
from armillary_hub.pool.samples import SampleLog


class Idleness:
    """What NVML adds to what kernels say.

    Parameters
    ----------
    samples
        What NVML said lately.
    clock
        The books' time.
    idle_after
        Seconds for which neither the kernel nor the GPU may have worked.
    """

    def __init__(self, samples: SampleLog, clock: BookClock, idle_after: float) -> None:
        self._samples = samples
        self._clock = clock
        self._idle_after = timedelta(seconds=idle_after)

    def quiet(self, leases: Sequence[Lease]) -> list[Lease]:
        """Return those leases whose holders say that they are idle and whose GPUs have not worked for them since."""
        idle = [lease for lease in leases if lease.idle_since is not None and lease.in_use]
        pids = own_pids(lease.holder.pid for lease in leases) if idle else {}
        return [lease for lease in idle if self._is_quiet(lease, pids[lease.holder.pid])]

    def _is_quiet(self, lease: Lease, pids: set[int]) -> bool:
        idle_since, long_ago = lease.idle_since, self._clock.now() - self._idle_after
        for uuid in lease.devices:
            worked = self._samples.last_worked(pids, uuid, alone=lease.memory is None)
            # What was between two samples may have been before it became idle: its kernel knows better.
            if worked is not None and idle_since is not None and worked[0] >= idle_since and worked[1] > long_ago:
                return False
        return True
