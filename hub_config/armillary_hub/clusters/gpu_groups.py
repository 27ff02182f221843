"""Which workers of a cluster get their GPUs together: all that it lacks when it is scaled up.

A cluster that had some of its workers, and waited for the rest with the GPUs of those, could wait for another one that
does the same. A worker that takes the place of one that died is lacking alone, so it asks alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from armillary_kernels.together import Together
from dask_gateway_server.backends.db_base import JobStatus


class WorkerGroups:
    """The groups of all workers that wait for GPUs.

    Parameters
    ----------
    has_gpus
        Tells whether a worker has got its GPUs.
    """

    def __init__(self, has_gpus: Callable[[Any], bool]) -> None:
        self._has_gpus = has_gpus
        self._groups: dict[str, str] = {}

    def join(self, worker: Any) -> None:
        """Put a worker and all others that its cluster lacks into one group, that of those which wait already."""
        if worker.name in self._groups:
            return
        lacking = self._lacking(worker.cluster)
        group = next((self._groups[one.name] for one in lacking if one.name in self._groups), uuid.uuid4().hex)
        for one in (worker, *lacking):
            self._groups.setdefault(one.name, group)

    def together(self, worker: Any) -> Together:
        """Return a worker's group, as large as it is now."""
        group = self._groups[worker.name]
        others = {one.name for one in self._lacking(worker.cluster) if self._groups.get(one.name) == group}
        return Together(group, len(others | {worker.name}))

    def leave(self, worker: Any) -> None:
        """Forget a worker that has started, or never does."""
        self._groups.pop(worker.name, None)

    def _lacking(self, cluster: Any) -> list[Any]:
        starting = (one for one in cluster.workers.values() if one.status == JobStatus.CREATED)
        return [one for one in starting if one.target == JobStatus.RUNNING and not self._has_gpus(one)]
