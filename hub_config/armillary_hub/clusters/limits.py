"""What one person may have of clusters, workers and memory, and the sentence that says a limit is reached.

Dask Gateway itself knows limits per cluster only.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_gateway_server.backends.base import PublicException

_GIB = 2**30


class LimitReached(PublicException):  # type: ignore[misc]
    """A limit stops what a person asked for; the message says which, what is in use, and what to do."""


@dataclass(frozen=True)
class Limits:
    """Limits of one person.

    Attributes
    ----------
    clusters
        Clusters at a time.
    workers
        Workers at a time, over all clusters.
    memory
        Bytes that the workers together may have.
    worker_memory
        Bytes that one worker may have.
    worker_threads
        Threads that one worker may have.
    """

    clusters: int
    workers: int
    memory: int
    worker_memory: int
    worker_threads: int


@dataclass(frozen=True)
class Usage:
    """What a person's other clusters have: their number, their workers, and those workers' memory in bytes."""

    clusters: int = 0
    workers: int = 0
    memory: int = 0


def check_new_cluster(limits: Limits, usage: Usage, worker_memory: int, worker_threads: int) -> None:
    """Refuse a cluster beyond the limits.

    Raises
    ------
    LimitReached
        If the person has too many clusters, or asks for workers that are too large.
    """
    if usage.clusters >= limits.clusters:
        raise LimitReached(
            f"You have {usage.clusters} Dask clusters running, and {limits.clusters} is the limit. "
            "Stop one of them first (its close button, or the Dask clusters page of the hub)."
        )
    if worker_memory > limits.worker_memory:
        raise LimitReached(
            f"A worker of {_gib(worker_memory)} is too large: one worker may have at most "
            f"{_gib(limits.worker_memory)}. Ask for less memory."
        )
    if worker_threads > limits.worker_threads:
        raise LimitReached(
            f"A worker of {worker_threads} threads is too large: one worker may have at most "
            f"{limits.worker_threads}. Ask for fewer threads."
        )


def affordable_workers(limits: Limits, usage: Usage, worker_memory: int) -> int:
    """Return how many workers of ``worker_memory`` bytes a cluster may have beside the person's others."""
    by_memory = (limits.memory - usage.memory) // max(worker_memory, 1)
    return max(0, min(limits.workers - usage.workers, by_memory))


def check_workers(limits: Limits, usage: Usage, worker_memory: int, count: int) -> None:
    """Refuse more workers than the limits leave.

    Raises
    ------
    LimitReached
        If ``count`` workers, beside the person's other clusters, are too many or need too much memory.
    """
    most = affordable_workers(limits, usage, worker_memory)
    if count <= most:
        return
    remedy = f"Ask for at most {most}" + (" or close another cluster." if usage.clusters else ".")

    def others(have: str) -> str:
        return f", and your other clusters have {have}" if usage.clusters else ""

    if most < limits.workers - usage.workers:
        raise LimitReached(
            f"{count} workers of {_gib(worker_memory)} need {_gib(count * worker_memory)}: your workers may have "
            f"{_gib(limits.memory)} in all{others(_gib(usage.memory))}. {remedy}"
        )
    raise LimitReached(
        f"{count} workers are too many: you may have {limits.workers} in all{others(str(usage.workers))}. {remedy}"
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:.3g} GiB"
