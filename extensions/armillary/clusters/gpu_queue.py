"""Where the workers of a cluster stand that wait for GPUs, as the GPU pool's books say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from armillary_kernels.connection import Connection
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.lease_words import estimate_words
from armillary_kernels.leases import LeaseError
from armillary_kernels.texts import translator

_ = translator(__file__)


@dataclass(frozen=True)
class GpuQueue:
    """Workers that wait for GPUs.

    Attributes
    ----------
    waiting
        How many do.
    position
        The place in the queue of the first of them; 1 is the next in line.
    waits_for
        ``"turn"``, ``"quota"`` (the person's own), ``"devices"`` that are not there or are reserved, or free ones that
        are kept for somebody ahead who is ``"gathering"`` several.
    seconds
        About how long it will wait, or None where that cannot be told.
    holders
        Who holds GPUs now.
    """

    waiting: int
    position: int
    waits_for: str
    seconds: float | None
    holders: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a person's words."""
        said = [
            _("Workers that wait for a GPU: {n} (place {place} in the queue).", n=self.waiting, place=self.position)
        ]
        if self.waits_for == "quota":
            said.append(_("Your GPU quota is used up: stop a kernel or a cluster of yours that has GPUs."))
        if self.holders:
            said.append(_("GPUs are held by {people}.", people=", ".join(self.holders)))
        if self.seconds is not None:
            said.append(_("Its turn comes {when}.", when=estimate_words(self.seconds)))
        return " ".join(said)


def gpu_queue(connection: Connection, cluster: str) -> GpuQueue | None:
    """Return where a cluster's workers stand in the queue; None where none waits or the pool does not answer."""
    try:
        with LeaseClient(connection) as pool:
            return pool.state(lambda books: read_queue(books, connection.user, cluster))
    except LeaseError:
        return None


def pool_size(connection: Connection) -> int | None:
    """Return how many GPUs the pool has, or None where it does not answer."""
    try:
        with LeaseClient(connection) as pool:
            return len(pool.gpu_memories())
    except LeaseError:
        return None


def read_queue(books: dict[str, Any], user: str, cluster: str) -> GpuQueue | None:
    """Return where a cluster's workers stand in the queue of the pool's books."""
    label = f"Dask {cluster[:8]}"  # as `armillary_hub.clusters.gpu_leases.label_of` has it
    mine = [lease for lease in books["queue"] if (lease["user"], lease["label"]) == (user, label)]
    if not mine:
        return None
    first = mine[0]
    holders = dict.fromkeys(_("you") if lease["user"] == user else lease["user"] for lease in first["holders"])
    return GpuQueue(len(mine), first["position"], first["waits_for"], first["estimate"], tuple(holders))
