"""The user's Dask cluster: from Dask Gateway on a hub, from local processes anywhere else.

>>> from armillary import cluster
>>> with cluster(workers=2) as mine:
...     mine.client().submit(sum, [1, 2, 3]).result()
6
"""

from __future__ import annotations

from armillary_kernels.connection import Connection
from armillary_kernels.texts import translator
from dask.utils import parse_bytes

from armillary.clusters.base import Cluster
from armillary.clusters.progress import Report
from armillary.errors import ClusterError

_ = translator(__file__)

__all__ = ["Cluster", "cluster"]


def cluster(
    workers: int = 2,
    *,
    memory: int | str | None = None,
    threads: int = 1,
    gpus: int = 0,
    report: Report | None = None,
) -> Cluster:
    """Return the user's Dask cluster with at least ``workers`` workers, ready for work.

    A running cluster of the user is taken if it has workers of the size asked for, and gets more of them where it has
    fewer. On a hub it outlives this process: the next ``cluster()``, also in another notebook, finds it again, until
    it is closed or has been idle for a while (half an hour, a quarter for one whose workers have GPUs, unless the
    admin chose otherwise).

    Workers with GPUs start when the hub's GPU pool has granted them, however long that takes; whoever stops waiting
    (interrupts the cell) leaves the queue. ``CUDA_VISIBLE_DEVICES`` says in each worker which ones are its own.

    Parameters
    ----------
    workers
        Number of workers, each a process of its own.
    memory
        Memory of each worker in bytes, or as ``"2 GiB"``; None takes the running cluster's or the hub's default.
    threads
        Threads of each worker.
    gpus
        GPUs of each worker.
    report
        Is told every two seconds how many workers have come (`armillary.clusters.progress.Arrival`); default: a line
        in the notebook.

    Returns
    -------
    Cluster
        As a context manager, it closes the cluster at the end of the block if this call started it.

    Raises
    ------
    ClusterError
        If an argument is wrong, a limit is reached, the gateway does not answer, or the workers do not come.
    """
    _check_count("workers", workers)
    _check_count("threads", threads)
    size = _parse_memory(memory)
    if not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0:
        raise ClusterError(
            _("{name} is {value!r}.", name="gpus", value=gpus),
            _("Give a whole number of {name}, 0 or more.", name="gpus"),
        )
    connection = Connection.from_environment()
    if connection is None:
        _require_no_gpus(gpus)
        from armillary.clusters.local import local_cluster

        return local_cluster(workers, size, threads, report)
    from armillary.clusters.remote import WorkerSize, remote_cluster

    return remote_cluster(connection, workers, WorkerSize(size, threads, gpus), report)


def _require_no_gpus(gpus: int) -> None:
    if gpus:
        raise ClusterError(
            _("There is no GPU pool here, so no worker can have GPUs of its own."),
            _("Leave out gpus: local workers see the GPUs that this process sees."),
        )


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ClusterError(
            _("{name} is {value!r}.", name=name, value=value), _("Give a whole number of {name}, 1 or more.", name=name)
        )


def _parse_memory(memory: int | str | None) -> int | None:
    if memory is None:
        return None
    try:
        size = int(parse_bytes(memory))
    except (ValueError, TypeError, AttributeError):
        size = 0
    if size < 2**20:
        raise ClusterError(
            _("{name} is {value!r}.", name="memory", value=memory), _('Give bytes or a text such as "2 GiB".')
        )
    return size
