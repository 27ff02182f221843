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
from armillary.errors import ClusterError

_ = translator(__file__)

__all__ = ["Cluster", "cluster"]


def cluster(workers: int = 2, *, memory: int | str | None = None, threads: int = 1) -> Cluster:
    """Return the user's Dask cluster with at least ``workers`` workers, ready for work.

    A running cluster of the user is taken if it has workers of the size asked for, and gets more of them where it has
    fewer. On a hub it outlives this process: the next ``cluster()``, also in another notebook, finds it again, until
    it is closed or has been idle for a while (half an hour, unless the admin chose otherwise).

    Parameters
    ----------
    workers
        Number of workers, each a process of its own.
    memory
        Memory of each worker in bytes, or as ``"2 GiB"``; None takes the running cluster's or the hub's default.
    threads
        Threads of each worker.

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
    connection = Connection.from_environment()
    if connection is None:
        from armillary.clusters.local import local_cluster

        return local_cluster(workers, size, threads)
    from armillary.clusters.remote import remote_cluster

    return remote_cluster(connection, workers, size, threads)


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
