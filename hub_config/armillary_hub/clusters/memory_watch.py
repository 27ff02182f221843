"""Ends every worker that has more memory than it was given, counting all that it started: ranks above all.

It watches from the gateway, for a task that holds the GIL silences each thread of its own process. A look each second
means that a worker may have more for a moment. A process that a person's task detaches from its worker is not seen; a
deployment that must rule that out runs its workers in cgroups, on Slurm or Kubernetes.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from armillary_kernels.processes import Process

from armillary_hub.clusters.memory import exceeds, families, freeze, send
from armillary_hub.clusters.process_groups import recorded_process
from armillary_hub.clusters.scheduler_events import ENDED_PATH, tell_scheduler

#: Seconds between looks.
PERIOD = 1.0


class MemoryWatch:
    """Watches the workers of a backend.

    Parameters
    ----------
    backend
        The gateway's backend.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._ending: dict[Process, asyncio.Future[None]] = {}

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.look()
            except Exception:  # one worker that cannot be read must not leave the others without a watch
                self._backend.log.exception("The workers' memory could not be looked at")

    async def look(self) -> None:
        """Begin to end the workers that have too much now; nobody is unwatched while a scheduler hears of it."""
        watched = {
            process: worker
            for cluster in self._backend.db.active_clusters()
            for worker in cluster.active_workers()
            if (process := recorded_process(worker.state)) and process not in self._ending
        }
        limits = {process: worker.cluster.config.worker_memory for process, worker in watched.items()}
        excesses = await asyncio.to_thread(_excesses, limits) if limits else {}
        for process, used in excesses.items():
            self._ending[process] = self._backend.task_pool.spawn(self._end(watched[process], process, used))

    async def _end(self, worker: Any, process: Process, used: int) -> None:
        """Stop a worker's processes, tell its scheduler why, and kill them."""
        cluster = worker.cluster
        frozen: list[int] = []
        try:
            frozen = await asyncio.to_thread(freeze, process.pid)
            self._backend.log.warning(
                "Worker %s of %s is ended: it has %d of its %d bytes",
                *(worker.name, cluster.username, used, cluster.config.worker_memory),
            )
            told = {"name": worker.name, "used": used, "limit": cluster.config.worker_memory}
            await tell_scheduler(self._backend, cluster, ENDED_PATH, told)  # the worker stands still meanwhile
        except Exception:
            self._backend.log.exception("A worker of %s could not be ended", cluster.name)
        finally:
            # The worker first, so that it cannot report its own ranks as dead without a reason.
            for pid in frozen:
                send(pid, signal.SIGKILL)
            del self._ending[process]


def _excesses(limits: dict[Process, int]) -> dict[Process, int]:
    """Return the bytes of each worker that has more than its limit."""
    alive = [process for process in limits if process.is_alive()]
    found = families([process.pid for process in alive])
    excesses = {process: exceeds(found[process.pid], limits[process]) for process in alive}
    return {process: used for process, used in excesses.items() if used}
