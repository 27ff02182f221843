"""Which cluster a run trains on: the one that it is given, else the person's own, with GPUs if it asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from armillary_kernels.connection import Connection
from armillary_kernels.texts import translator
from distributed import Client

from armillary.errors import ClusterError, TrainingError

if TYPE_CHECKING:
    from armillary.clusters.progress import Arrival
    from armillary.training.run import Run

_ = translator(__file__)


def check_cluster(cluster: Any) -> None:
    """Refuse what is no cluster.

    Raises
    ------
    TrainingError
        If neither a client can be had from it nor is it one.
    """
    if cluster is not None and not any(hasattr(cluster, way) for way in ("subscribe_topic", "client", "get_client")):
        raise TrainingError(
            _("A {kind} is not a cluster.", kind=type(cluster).__name__),
            _("Give armillary.cluster(...), a Dask cluster or a Client."),
        )


def check_gpus(gpus: int, cluster: Any) -> None:
    """Refuse more GPUs than there can be, where that is known.

    Raises
    ------
    TrainingError
        If the machine has fewer, or there is no pool to lease them from.
    """
    if not gpus or cluster is not None:
        return
    from armillary.clusters.gpu_queue import pool_size

    connection = Connection.from_environment()
    there = 0 if connection is None else pool_size(connection)
    if there == 0:
        raise TrainingError(_("There are no GPUs here to train on."), _("Leave out gpus: ranks then use the CPU."))
    if there is not None and gpus > there:
        raise TrainingError(
            _("Training asks for {gpus} GPUs; this machine has {there}.", gpus=gpus, there=there),
            _("Ask for {there} at most: fit(..., gpus={there}).", there=there),
        )


def has_gpus() -> bool:
    """Return whether there is a pool with GPUs that runs can lease."""
    from armillary.clusters.gpu_queue import pool_size

    connection = Connection.from_environment()
    return connection is not None and bool(pool_size(connection))


def connector(cluster: Any, run: Run) -> Callable[[], AbstractContextManager[Client]]:
    """Return what gets the client, when the supervisor has time to wait for it."""

    def connect() -> AbstractContextManager[Client]:
        if cluster is None:
            return _own_client(run)
        if isinstance(cluster, Client):
            return nullcontext(cluster)
        # Our clusters share one client; Dask's make a new one at each call, which is ours to close.
        return nullcontext(cluster.client()) if hasattr(cluster, "client") else closing(cluster.get_client())

    return connect


@contextmanager
def _own_client(run: Run) -> Iterator[Client]:
    """Yield the client of the person's own cluster; one with GPUs that only this run uses ends with it."""
    from armillary.clusters import cluster as own_cluster

    def report(arrival: Arrival) -> None:
        run.note(str(arrival))
        if run.cancel_requested:
            raise TrainingError(_("The run {run} was cancelled.", run=run.id))

    gpus = 1 if run.plan.gpus else 0
    found = own_cluster(workers=run.plan.workers, gpus=gpus, report=report)
    try:
        yield found.client()
    finally:
        if gpus and found.started_here:
            with suppress(ClusterError):  # it has stopped by itself, or will be stopped when it has been idle
                if not found.is_shared():
                    found.close()
