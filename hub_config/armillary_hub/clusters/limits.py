"""What one person may have of clusters, workers and memory, and the sentence that says a limit is reached.

Dask Gateway itself knows limits per cluster only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from armillary_kernels.texts import translator
from dask_gateway_server.backends.base import PublicException

if TYPE_CHECKING:
    from armillary_hub.clusters.gpu_pool import Allowance

_ = translator(__file__)

_GIB = 2**30

#: Bytes of the smallest worker: it takes about half of that before its first task, and is ended when it has more.
SMALLEST_WORKER = 2**28


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
        If the person has too many clusters, or asks for workers that are too large or too small.
    """
    if usage.clusters >= limits.clusters:
        raise LimitReached(
            _(
                "You have {n} Dask clusters running, and {limit} is the limit. "
                "Stop one of them first (its close button, or the Dask clusters page of the hub).",
                n=usage.clusters,
                limit=limits.clusters,
            )
        )
    if worker_memory > limits.worker_memory:
        raise LimitReached(
            _(
                "A worker of {size} is too large: one worker may have at most {limit}. Ask for less memory.",
                size=_gib(worker_memory),
                limit=_gib(limits.worker_memory),
            )
        )
    if worker_memory < SMALLEST_WORKER:
        raise LimitReached(
            _(
                "A worker of {size} is too small: it needs {least} before its first task. Ask for more memory.",
                size=_gib(worker_memory),
                least=_gib(SMALLEST_WORKER),
            )
        )
    if worker_threads > limits.worker_threads:
        raise LimitReached(
            _(
                "A worker of {n} threads is too large: one worker may have at most {limit}. Ask for fewer threads.",
                n=worker_threads,
                limit=limits.worker_threads,
            )
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
    remedy = _("Ask for at most {n}.", n=most)
    if usage.clusters:
        remedy = _("Ask for at most {n} or close another cluster.", n=most)

    def others(have: str) -> str:
        return _(", and your other clusters have {have}", have=have) if usage.clusters else ""

    if most < limits.workers - usage.workers:
        what = _(
            "{n} workers of {size} need {needed}: your workers may have {limit} in all{others}.",
            n=count,
            size=_gib(worker_memory),
            needed=_gib(count * worker_memory),
            limit=_gib(limits.memory),
            others=others(_gib(usage.memory)),
        )
    else:
        what = _(
            "{n} workers are too many: you may have {limit} in all{others}.",
            n=count,
            limit=limits.workers,
            others=others(str(usage.workers)),
        )
    raise LimitReached(f"{what} {remedy}")


def check_gpus(allowance: Allowance, gpus: int, workers: int = 1) -> None:
    """Refuse workers whose GPUs a person can never have at once.

    Raises
    ------
    LimitReached
        If ``workers`` workers of ``gpus`` GPUs each need more than the machine has or the person's quota allows.
    """
    total = gpus * workers
    if total <= allowance.most:
        return
    if not allowance.devices:
        raise LimitReached(_("This machine has no GPUs. Leave out gpus: workers then use the CPU."))
    if total > allowance.devices:
        bound = _("this machine has {n}", n=allowance.devices)
        remedy = ""
    else:
        bound = _("your quota is {n:g} at once", n=allowance.quota)
        remedy = _("An admin can give you a larger one.")
    if most := allowance.most // gpus:
        remedy = f"{_('Ask for at most {n}.', n=most)} {remedy}".strip()
    elif allowance.most:
        remedy = f"{_('Ask for at most {n} GPUs.', n=allowance.most)} {remedy}".strip()
    what = _("{n} workers need {total} GPUs ({gpus} each): {bound}.", n=workers, total=total, gpus=gpus, bound=bound)
    raise LimitReached(f"{what} {remedy}")


def _gib(size: int) -> str:
    gib = size / _GIB
    return f"{gib:.3g} GiB" if gib < 1000 else f"{gib:,.0f} GiB"
