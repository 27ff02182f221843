"""The leases of Dask workers that wait for their GPUs, or have them and have not started yet.

The gateway holds the place in the queue, so that the places of a gateway that dies are given up by the pool. A granted
lease is tied to the worker's process before that runs anything (`start_gate`), and lives with it from then on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from armillary_kernels.leases import Lease, LeaseError, LeaseLostError, LeaseRefusedError, QueuePlace, new_lease_id

from armillary_hub.clusters.gpu_groups import WorkerGroups
from armillary_hub.clusters.gpu_pool import GpuPoolDoor, give_back_quietly
from armillary_hub.clusters.process_groups import recorded_process

#: Seconds between two looks at a place in the queue.
LOOK_PERIOD = 0.5

#: Seconds after which a worker asks again whose ask was refused, or whose place somebody gave up.
ASK_AGAIN = 10.0

#: In a worker's recorded state: the lease that it runs with.
LEASE = "lease"

_log = logging.getLogger(__name__)


def gpus_of(cluster: Any) -> int:
    """Return how many GPUs each worker of a cluster has; clusters of earlier releases say nothing about it."""
    return int(cluster.config.get("worker_gpus", 0))


def label_of(cluster: Any) -> str:
    """Return what the pool's books call a cluster (`armillary.clusters.gpu_queue` looks for it)."""
    return f"Dask {cluster.name[:8]}"


class WorkerLeases:
    """What each worker that has not started yet waits for, or has got.

    Parameters
    ----------
    pool
        The pool.
    ready
        Is told each worker that has its GPUs.
    refused
        Is told each worker that gets none, and why; once for each reason.
    """

    def __init__(
        self,
        pool: GpuPoolDoor,
        ready: Callable[[Any], None],
        refused: Callable[[Any, str], None] = lambda worker, reason: None,
    ) -> None:
        self._pool = pool
        self._ready = ready
        self._refused = refused
        self._waits: dict[str, asyncio.Task[None]] = {}
        self._granted: dict[str, Lease] = {}
        self._groups = WorkerGroups(lambda worker: worker.name in self._granted)

    def granted(self, worker: Any) -> Lease | None:
        """Return the lease with which a worker may start."""
        return self._granted.get(worker.name)

    def ask_for(self, worker: Any) -> None:
        """Wait for a worker's GPUs in a task of its own, for as long as it takes."""
        if worker.name not in self._waits:
            self._groups.join(worker)
            self._waits[worker.name] = asyncio.create_task(self._obtain(worker))

    def started(self, worker: Any) -> None:
        """Forget a worker whose process holds its lease."""
        self._waits.pop(worker.name, None)
        self._granted.pop(worker.name, None)
        self._groups.leave(worker)

    async def end(self, worker: Any) -> None:
        """Give up the place in the queue or the lease of a worker that has ended, or never starts."""
        if (wait := self._waits.pop(worker.name, None)) is not None:
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        self._groups.leave(worker)
        granted = self._granted.pop(worker.name, None)
        lease_id = granted.id if granted else worker.state.get(LEASE)
        process = recorded_process(worker.state)
        # A process that does not end keeps its GPUs; the pool takes them when it does.
        if lease_id and (process is None or not process.is_alive()):
            await self._give_back(lease_id)

    async def _obtain(self, worker: Any) -> None:
        """Stand in line until the GPUs are there; a worker whose place is lost asks anew."""
        said, lease_id = "", new_lease_id()
        try:
            while worker.name not in self._granted:
                try:
                    self._granted[worker.name] = await self._stand_in_line(worker, lease_id)
                except Exception as error:  # without its task the worker would wait for ever
                    if isinstance(error, (LeaseRefusedError, LeaseLostError)):  # else the place may still be ours
                        lease_id = new_lease_id()
                    if str(error) != said:
                        said = str(error)
                        _log_refusal(worker, error)
                        self._refused(worker, said)
                    await asyncio.sleep(ASK_AGAIN)
        except asyncio.CancelledError:
            # When the worker is stopped meanwhile its place must not stay taken.
            await asyncio.shield(self._give_back(lease_id))
            raise
        self._ready(worker)

    async def _stand_in_line(self, worker: Any, lease_id: str) -> Lease:
        cluster = worker.cluster
        asked = (cluster.username, gpus_of(cluster), label_of(cluster), self._groups.together(worker))
        answer = await self._pool.ask(lease_id, *asked)
        while isinstance(answer, QueuePlace):
            await asyncio.sleep(LOOK_PERIOD)
            answer = await self._pool.look(lease_id)
        return answer

    async def _give_back(self, lease_id: str) -> None:
        if error := await give_back_quietly(self._pool, lease_id):
            _log.info("A worker's lease was not given back by us; the pool will notice: %s", error)


def _log_refusal(worker: Any, error: Exception) -> None:
    expected = isinstance(error, (LeaseError, httpx.HTTPError))
    what = "Worker %s of %s gets no GPU yet: %s"
    _log.warning(what, worker.name, worker.cluster.username, error, exc_info=None if expected else error)


@contextmanager
def start_gate(command: list[str]) -> Iterator[tuple[list[str], int, Callable[[], None]]]:
    """Let a program run nothing before the gate is opened; it never does when this process dies before.

    Yields
    ------
    tuple
        The command to start instead, the descriptor to give it as standard input, and what opens the gate. The process
        stays the same when the program begins.
    """
    reading, writing = os.pipe()
    try:
        gated = ["/bin/sh", "-c", 'read -r open && exec "$@"', "gate", *command]
        yield gated, reading, lambda: _open(writing)
    finally:
        os.close(reading)
        os.close(writing)


def _open(descriptor: int) -> None:
    os.write(descriptor, b"open\n")
