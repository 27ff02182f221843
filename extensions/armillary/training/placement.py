"""Holding one place for a rank on each of N Dask workers: all of them or none.

Dask starts tasks one by one (distributed#8624), so each worker gets an agent pinned to it that holds its place until
all N are there; too few by the deadline, and all let go.
"""

from __future__ import annotations

import json
import os
import queue
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from armillary_kernels.texts import own_language, translator
from distributed import Client, Future

from armillary.errors import TrainingError
from armillary.training import agent
from armillary.training.plan import TrainingPlan

_ = translator(__file__)

#: How often the list of workers is looked at, seconds.
GLANCE = 0.5

Event = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A worker that holds a place for one rank.

    Attributes
    ----------
    worker
        The worker's Dask address.
    host
        The address that other workers reach it by.
    node
        The machine's name.
    cores
        Cores that the worker may use, shared with other workers of its machine.
    port
        A free port there.
    gpus
        GPUs that the worker was given; its rank uses the first.
    """

    worker: str
    host: str
    node: str
    cores: int
    port: int
    gpus: int = 0


class Reservation:
    """The agents of one attempt to run.

    Parameters
    ----------
    client
        The cluster's client.
    attempt
        Name of the Dask topic that agents publish to.
    events
        Where what they publish arrives.
    """

    def __init__(self, client: Client, attempt: str, events: queue.Queue[Event]) -> None:
        self.client = client
        self.attempt = attempt
        self.events = events
        self.futures: dict[str, Future] = {}
        self.places: list[Place] = []

    def hold(self, workers: int, timeout: float, wanted: Callable[[], bool], *, gpus: int = 0) -> None:
        """Hold ``workers`` places, in ``self.places``; the order of the list is the order of ranks.

        Raises
        ------
        TrainingError
            If there are fewer after ``timeout`` seconds, or fewer than ``gpus`` of them have GPUs; those that were
            there are free again.
        """
        deadline = time.monotonic() + timeout
        while wanted() and len(self.places) < workers and time.monotonic() < deadline:
            self._send_agents()
            self._welcome(workers)
        if wanted() and len(self.places) < workers:
            self.release()
            raise self._too_few(workers, timeout)
        if wanted() and (found := sum(place.gpus > 0 for place in self.places)) < gpus:
            self.release()
            raise _too_few_gpus(gpus, found)
        self._let_go({place.worker for place in self.places})

    def _send_agents(self) -> None:
        """Send an agent to each worker that has none yet."""
        for address in set(present_workers(self.client)) - self.futures.keys():
            self.futures[address] = self.client.submit(
                agent.hold_place,
                self.attempt,
                key=f"{self.attempt}-{len(self.futures)}",
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )

    def _welcome(self, workers: int) -> None:
        """Take in the agents that answer within a glance."""
        deadline = time.monotonic() + GLANCE
        while len(self.places) < workers and (left := deadline - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left)
            except queue.Empty:
                return
            if event["type"] == "ready":
                self.places.append(Place(**{name: event[name] for name in Place.__dataclass_fields__}))

    def _too_few(self, workers: int, timeout: float) -> TrainingError:
        there = len(present_workers(self.client))
        found = len(self.places)
        cluster = _("the cluster has {n}", n=there)
        if there > found:
            cluster = _("the cluster has {n}, {busy} of them busy", n=there, busy=there - found)
        what = _(
            "Training asks for {workers} workers, but {found} could be had in {seconds:g} s ({cluster}).",
            workers=workers,
            found=found,
            seconds=timeout,
            cluster=cluster,
        )
        if not found:
            return TrainingError(
                what,
                _(
                    "Give the cluster more workers with cluster.scale({workers}), or wait until other work has ended.",
                    workers=workers,
                ),
            )
        return TrainingError(
            what,
            _(
                "Ask for fewer with fit(..., workers={found}), give the cluster more workers with "
                "cluster.scale({workers}), or wait until other work has ended.",
                found=found,
                workers=workers,
            ),
        )

    def _let_go(self, kept: set[str]) -> None:
        surplus = [self.futures.pop(address) for address in self.futures.keys() - kept]
        self.client.cancel(surplus)

    def start(self, plan: TrainingPlan, folder: str, *, resume: bool) -> None:
        """Tell the agents to start their ranks."""
        orders = {
            place.worker: agent.order_fields(
                agent.Order(rank, folder, plan.folder, resume, rank_environment(plan, self.places, rank))
            )
            for rank, place in enumerate(self.places)
        }
        self.client.run(agent.give_order, self.attempt, orders, workers=list(orders))

    def release(self) -> None:
        """Let all workers go; agents end their ranks."""
        self.client.cancel(list(self.futures.values()))
        self.futures.clear()


def _too_few_gpus(gpus: int, found: int) -> TrainingError:
    return TrainingError(
        _("Training asks for {gpus} GPUs, but {found} workers of this cluster have one.", gpus=gpus, found=found),
        _(
            "Leave out cluster, or give it workers with GPUs: armillary.cluster(workers={gpus}, gpus=1).",
            gpus=gpus,
        ),
    )


def present_workers(client: Client) -> list[str]:
    """Return the addresses of the cluster's workers.

    Not by ``client.scheduler_info()``: its periodic refresh may put an answer without workers in between.
    """
    return sorted(client.nthreads())


def rank_environment(plan: TrainingPlan, places: list[Place], rank: int) -> dict[str, str]:
    """Return the variables by which a rank finds the others, and its share of the machine's cores."""
    one_machine = len({place.node for place in places}) == 1
    hosts = ["127.0.0.1" if one_machine else place.host for place in places]
    neighbours = Counter(place.node for place in places)[places[rank].node]
    threads = str(max(1, places[rank].cores // neighbours))
    common = {
        "ARMILLARY_RUN_ID": plan.run_id,
        # What a rank fails with is read where the run was started.
        "ARMILLARY_LANGUAGE": own_language(),
        "MASTER_ADDR": hosts[0],
        "MASTER_PORT": str(places[0].port),
        "RANK": str(rank),
        "WORLD_SIZE": str(len(places)),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": _no_proxy(hosts),
        "no_proxy": _no_proxy(hosts),
    }
    threading = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    return common | threading | (_tensorflow_environment(hosts, places, rank) if plan.framework == "tensorflow" else {})


def _no_proxy(hosts: list[str]) -> str:
    """Keep gRPC between ranks off an HTTP proxy."""
    return ",".join(filter(None, [os.environ.get("no_proxy", ""), "localhost", *sorted({*hosts, "127.0.0.1"})]))


def _tensorflow_environment(hosts: list[str], places: list[Place], rank: int) -> dict[str, str]:
    addresses = [f"{host}:{place.port}" for host, place in zip(hosts, places, strict=True)]
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    return {"TF_CONFIG": json.dumps(config), "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
