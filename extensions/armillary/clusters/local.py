"""A Dask cluster of processes on this machine, for where there is no hub.

Not `distributed.LocalCluster`: its workers are daemonic, so that no process can be started in them, and they import
the script that started them once more, which needs an ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from armillary_kernels.texts import translator
from dask.system import CPU_COUNT
from distributed import Client, Scheduler, SpecCluster
from distributed.deploy.subprocess import SubprocessWorker
from distributed.system import MEMORY_LIMIT

from armillary.clusters.base import Cluster
from armillary.clusters.progress import Report, waiting_for_workers
from armillary.errors import ClusterError

_ = translator(__file__)

_running: list[LocalCluster] = []


def local_cluster(workers: int, memory: int | None, threads: int, report: Report | None = None) -> Cluster:
    """Return this process's local cluster with at least ``workers`` workers; start one where none fits."""
    for cluster in list(_running):
        if cluster.threads == threads and memory in (None, cluster.worker_memory):
            cluster.started_here = False
            cluster.grow(workers, report)
            return cluster
    return LocalCluster(workers, memory, threads, report)


class LocalCluster(Cluster):
    """A scheduler in this process and workers in processes of their own; they end with this process."""

    def __init__(self, workers: int, memory: int | None, threads: int, report: Report | None = None) -> None:
        super().__init__(started_here=True)
        self.threads = threads
        self.worker_memory = memory or _share_of_memory(workers)
        worker = {"cls": _Worker, "options": {"threads": threads, "memory": self.worker_memory}}
        self._cluster = SpecCluster(
            workers=dict.fromkeys(range(workers), worker),
            scheduler={
                "cls": Scheduler,
                "options": {"protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
            },
            worker=worker,
            silence_logs=30,
        )
        _running.append(self)
        with waiting_for_workers() as line:
            self.wait_for_workers(workers, report=report or line)

    @property
    def name(self) -> str:
        """The address of the scheduler."""
        return str(self._cluster.scheduler_address)

    @property
    def dashboard_link(self) -> str | None:
        """Address of Dask's dashboard."""
        return str(self._cluster.dashboard_link)

    def _connect(self) -> Client:
        return Client(self._cluster)

    def _require_running(self) -> None:
        if self not in _running:
            raise ClusterError(_("This Dask cluster is closed."), _("Start another with `armillary.cluster()`."))

    def _request_workers(self, count: int) -> None:
        self._require_running()
        self._cluster.scale(count)

    def _stop(self) -> None:
        if self in _running:
            _running.remove(self)
            self._cluster.close()


def _share_of_memory(workers: int) -> int:
    return int(MEMORY_LIMIT / max(workers, CPU_COUNT))


class _Worker(SubprocessWorker):
    """One worker in a process of its own; it ends when the scheduler goes."""

    def __init__(self, scheduler: str, threads: int, memory: int, name: Any = None) -> None:
        options = {"nthreads": threads, "memory_limit": memory, "name": name, "dashboard": False, "silence_logs": 30}
        super().__init__(scheduler, "distributed.Worker", name, {"host": "127.0.0.1", **options})
        self._threads = threads

    async def _start(self) -> None:
        specification = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self._threads))
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dask", "spec", self.scheduler, "--spec", specification),
            env=os.environ | threads,
            start_new_session=True,  # an interrupted cell is not a reason for workers to end
        )
