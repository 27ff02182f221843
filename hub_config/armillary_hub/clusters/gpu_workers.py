"""Dask workers with GPUs: a backend whose workers start when the pool has granted what they need.

A worker that waits stays "created": Dask Gateway's start timeout does not count that, nothing else waits behind it, and
scaling down takes such workers first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from armillary_kernels.leases import PoolUnreachableError
from armillary_kernels.processes import Process, kill_group
from armillary_kernels.texts import translator
from dask_gateway_server.backends.base import ClusterConfig, PublicException
from dask_gateway_server.backends.db_base import JobStatus, timestamp
from dask_gateway_server.backends.local import LocalBackend
from traitlets import Float, Integer, Type, Unicode

from armillary_hub.clusters.gpu_leases import LEASE, WorkerLeases, gpus_of, start_gate
from armillary_hub.clusters.gpu_pool import Allowance, GpuPoolDoor
from armillary_hub.clusters.limits import check_gpus
from armillary_hub.clusters.process_groups import recorded_process
from armillary_hub.clusters.scheduler_events import REFUSED_PATH, tell_scheduler

_ = translator(__file__)


class GpuClusterConfig(ClusterConfig):  # type: ignore[misc]
    """A cluster's configuration, with the GPUs of its workers."""

    worker_gpus = Integer(0, min=0, help="GPUs of each worker, leased from the pool.", config=True)


class GpuBackend(LocalBackend):  # type: ignore[misc]
    """Starts workers of clusters with GPUs on a lease, and ends the lease with the worker."""

    cluster_config_class = Type(GpuClusterConfig, klass=ClusterConfig, config=True, help="Class of clusters' settings.")

    gpu_idle_timeout = Float(
        15 * 60,
        min=0,
        config=True,
        help="Seconds without a task after which a cluster whose workers have GPUs stops and gives them back; 0 for "
        "never. It takes the place of `ClusterConfig.idle_timeout`. Default: 15 minutes.",
    )

    gpu_pool_url = Unicode(config=True, help="Where the GPU pool answers.")

    hub_api_url = Unicode(config=True, help="Where the hub's API answers; it knows people's groups.")

    hub_token = Unicode(config=True, help="The gateway's own token with the hub.")

    async def do_setup(self) -> None:
        """Open the way to the pool."""
        self.gpu_pool = GpuPoolDoor(self.gpu_pool_url, self.hub_api_url, self.hub_token)
        self.worker_leases = WorkerLeases(self.gpu_pool, self._has_gpus, self._is_refused)

    def _has_gpus(self, worker: Any) -> None:
        # From now on its start is timed.
        self.db.update_worker(worker, start_time=timestamp())
        self.queue.put(worker)

    def _is_refused(self, worker: Any, reason: str) -> None:
        # Its owner waits for it and reads no log of ours.
        self.task_pool.spawn(tell_scheduler(self, worker.cluster, REFUSED_PATH, {"reason": reason}))

    # Limits -------------------------------------------------------------------------------------------------

    async def check_gpus(self, username: str, gpus: int, workers: int = 1) -> Allowance | None:
        """Refuse GPUs that a person can never have at once; returns what bounds them.

        Raises
        ------
        PublicException
            If there are too few, the person's quota is too small, or the pool does not answer.
        """
        if not gpus:
            return None
        try:
            allowance = await self.gpu_pool.allowance(username)
        except PoolUnreachableError as error:
            raise PublicException(str(error)) from error
        check_gpus(allowance, gpus, workers)
        return allowance

    # Workers ------------------------------------------------------------------------------------------------

    async def reconcile_worker(self, worker: Any) -> None:
        """Bring a worker nearer to what it is to be: without its GPUs it stays where it is."""
        starts = worker.status == JobStatus.CREATED and worker.target == JobStatus.RUNNING
        if starts and gpus_of(worker.cluster) and not self.worker_leases.granted(worker):
            # What a gateway that was killed in the middle left behind: two workers of one name would be too many.
            if (left := recorded_process(worker.state)) and left.is_alive():
                kill_group(left)
            self.worker_leases.ask_for(worker)
            return
        await super().reconcile_worker(worker)
        if worker.status >= JobStatus.STOPPED and gpus_of(worker.cluster):
            await self.worker_leases.end(worker)

    async def do_start_worker(self, worker: Any) -> AsyncIterator[dict[str, Any]]:
        """Start a worker, on its lease if it has one."""
        command = self.get_worker_command(worker.cluster, worker.name)
        environment, log = self.get_worker_env(worker.cluster), f"worker-{worker.name}"
        lease = self.worker_leases.granted(worker)
        if lease is None:
            yield await self.start_process(worker.cluster, command, environment, log)
            return
        environment |= lease.environment
        with start_gate(command) as (gated, descriptor, open_gate):
            found = await self.start_process(worker.cluster, gated, environment, log, stdin=descriptor)
            yield {**found, LEASE: lease.id}
            await self.gpu_pool.bind(lease.id, Process(found["pid"], found["start_time"]))
            self.worker_leases.started(worker)
            open_gate()
