"""The pool's books as a person sees them, at one moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from armillary_kernels.connection import Connection
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.lease_words import (
    amount_words,
    duration_words,
    estimate_words,
    memory_words,
    purpose_words,
    waits_for_words,
)
from armillary_kernels.plain_texts import printable
from armillary_kernels.texts import translator

_ = translator(__file__)

_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance.

    Attributes
    ----------
    index, name
        Its place in PCI bus order, and the model.
    memory, memory_used
        Bytes; None where nobody says.
    utilisation
        The part of the last seconds in which it worked, 0 to 1; None where nobody says.
    state, trouble
        ``"working"``, ``"failing"`` or ``"lost"``, and what is wrong with it.
    leases
        Ids of the leases that hold it.
    utilisation_history, memory_history
        The same for each minute of the last hour, oldest first.
    """

    index: int
    name: str
    memory: int
    memory_used: int | None
    utilisation: float | None
    state: str
    trouble: str
    leases: tuple[str, ...]
    utilisation_history: tuple[float | None, ...] = field(default=(), repr=False)
    memory_history: tuple[int | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class GpuLease:
    """Somebody's right to use GPUs, or place in the queue for them.

    Attributes
    ----------
    id, user, mine
        Its id, whose it is, and whether that is you.
    purpose, label
        ``"kernel"``, ``"worker"``, ``"app"`` or ``"job"``, and which one: said of your own only.
    state, step
        ``"queued"``, ``"granted"`` or ``"suspended"``; ``"suspending"`` and ``"restoring"`` are steps under way.
    wanted, memory
        Number of GPUs, or MiB of one.
    devices
        Indices of the GPUs that it holds.
    since
        Since when it holds them, waits or is suspended.
    idle_since
        Since when it does nothing with them; None when it is busy.
    place, waits_for, estimate
        In the queue: 1 for the next, what it waits for (`armillary_kernels.lease_words`) and probably how many
        seconds; None otherwise.
    is_this_process
        Whether this very process, such as this notebook's kernel, holds it.
    """

    id: str
    user: str
    mine: bool
    purpose: str
    label: str
    state: str
    step: str
    wanted: int
    memory: int | None
    devices: tuple[int, ...]
    since: datetime
    idle_since: datetime | None
    place: int | None
    waits_for: str | None
    estimate: float | None
    is_this_process: bool

    @property
    def what(self) -> str:
        """What it is for, in words."""
        return f"{purpose_words(self.purpose)} · {self.label}" if self.label else purpose_words(self.purpose)

    @property
    def condition(self) -> str:
        """How it stands, in words."""
        if self.step:
            return _("being suspended") if self.step == "suspending" else _("coming back")
        if self.place is not None:
            return _("place {place} in the queue", place=self.place)
        if self.state == "suspended":
            return _("suspended")
        if self.idle_since is not None:
            return _("idle for {duration}", duration=ago(self.idle_since))
        return _("in use")


@dataclass(frozen=True)
class Gpus:
    """The hub's GPUs at one moment.

    Attributes
    ----------
    devices
        The GPUs.
    leases
        Who holds them or is suspended.
    queue
        Who waits, the next in line first; suspended ones that want to come back too.
    """

    devices: tuple[Gpu, ...]
    leases: tuple[GpuLease, ...]
    queue: tuple[GpuLease, ...]
    _connection: Connection = field(repr=False, compare=False)

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """Ask the pool."""
        with LeaseClient(connection) as pool:
            hours = pool.utilisation(lambda hour: {device["uuid"]: device for device in hour["devices"]})
            return pool.state(
                lambda state: cls(
                    devices=tuple(_gpu(device, hours.get(device["uuid"], {})) for device in state["devices"]),
                    leases=tuple(_lease(lease, connection.user) for lease in state["leases"]),
                    queue=tuple(_lease(lease, connection.user) for lease in state["queue"]),
                    _connection=connection,
                )
            )

    def refresh(self) -> Self:
        """Return them as they are now."""
        return self.read(self._connection)

    @property
    def mine(self) -> tuple[GpuLease, ...]:
        """Your own leases and places in the queue."""
        return tuple(lease for lease in (*self.leases, *self.queue) if lease.mine)

    def holders(self, gpu: Gpu) -> tuple[GpuLease, ...]:
        """Return the leases that hold a GPU, several where it is shared."""
        return tuple(lease for lease in self.leases if lease.id in gpu.leases)

    def __repr__(self) -> str:
        if not self.devices:
            return _("This hub has no GPUs: kernels run on the CPU.")
        waiting = [_waiting_line(lease) for lease in self.queue] or [_("Nobody waits.")]
        suspended = [lease for lease in self.leases if lease.state == "suspended"]
        lines = [line for gpu in self.devices for line in _gpu_lines(gpu, self.holders(gpu))]
        return "\n".join([*lines, *(f"{_person(one)}: {one.what}, {one.condition}" for one in suspended), *waiting])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from armillary.gpu_pool.panel import GpuPanel

        bundle: Any = GpuPanel(self)._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        data["text/plain"] = repr(self)  # what is left of it in a notebook without its kernel
        return bundle


def ago(moment: datetime) -> str:
    """Return how long ago a moment was, in words."""
    return duration_words((datetime.now(UTC) - moment).total_seconds())


def lasting(lease: GpuLease) -> str:
    """Return how long a lease has held, waited or been suspended, in words."""
    return _("for {duration}", duration=ago(lease.since))


def waiting_words(lease: GpuLease) -> str:
    """Return what a lease in the queue waits for, and how long probably."""
    return _(
        "waits for {reason}; estimate: {estimate}",
        reason=waits_for_words(lease.waits_for or "turn"),
        estimate=estimate_words(lease.estimate),
    )


def amount(lease: GpuLease) -> str:
    """Return how much a lease is of, in words."""
    return amount_words(lease.wanted, lease.memory)


def load_words(gpu: Gpu) -> str:
    """Return what a GPU does now, in words."""
    busy = "" if gpu.utilisation is None else _("busy {part}", part=f"{gpu.utilisation:.0%}")
    used = "" if gpu.memory_used is None else _("memory {used}", used=memory_words(gpu.memory_used / _MIB))
    return ", ".join(text for text in (busy, used) if text)


def _gpu_lines(gpu: Gpu, holders: Sequence[GpuLease]) -> list[str]:
    head = ", ".join(text for text in (f"GPU {gpu.index} ({gpu.name})", load_words(gpu)) if text)
    if gpu.state != "working":
        return [f"{head}: {_('out of order')}. {gpu.trouble}".strip()]
    if not holders:
        return [f"{head}: {_('free')}"]
    return [f"{head}: {_person(one)}, {one.what}, {amount(one)}, {one.condition}, {lasting(one)}" for one in holders]


def _waiting_line(lease: GpuLease) -> str:
    return f"{lease.place}. {_person(lease)}: {lease.what}, {amount(lease)}, {waiting_words(lease)}"


def _person(lease: GpuLease) -> str:
    return _("{user} (you)", user=lease.user) if lease.mine else lease.user


def _gpu(device: dict[str, Any], hour: dict[str, Any]) -> Gpu:
    return Gpu(
        **{name: device[name] for name in ("index", "memory", "memory_used", "utilisation", "state")},
        name=printable(device["name"]),
        trouble=printable(device["trouble"]),
        leases=tuple(device["leases"]),
        utilisation_history=tuple(hour.get("utilisation", ())),
        memory_history=tuple(hour.get("memory", ())),
    )


def _lease(lease: dict[str, Any], user: str) -> GpuLease:
    since, idle = lease.get("suspended_since") or lease["since"], lease["idle_since"]
    return GpuLease(
        **{name: lease[name] for name in ("id", "purpose", "state", "step", "wanted", "memory")},
        user=printable(lease["user"]),
        label=printable(lease["label"]),
        mine=lease["user"] == user,
        devices=tuple(lease["devices"]),
        since=datetime.fromisoformat(lease["since"] if "position" in lease else since),
        idle_since=datetime.fromisoformat(idle) if idle else None,
        place=lease.get("position"),
        waits_for=lease.get("waits_for"),
        estimate=lease.get("estimate"),
        is_this_process=lease.get("holder", {}).get("pid") == os.getpid(),
    )
