"""Leases of GPUs as the pool answers with them, places in its queue, and what goes wrong.

::

    LeaseError                     the root, an ArmillaryError
    ├── PoolUnreachableError       no answer, or not one of the pool's
    │   └── PoolFaultError         the pool answers that it cannot work now: its disk is full, for one
    ├── LeaseRefusedError          the pool says no: too many GPUs asked, not your process
    └── LeaseLostError             the lease is no longer yours: given back, expired, or released by an admin
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.plain_texts import printable
from armillary_kernels.processes import Process
from armillary_kernels.texts import translator

_ = translator(__file__)

Purpose = Literal["kernel", "worker", "app", "job"]


class LeaseError(ArmillaryError):
    """A lease could not be had, or kept."""


class PoolUnreachableError(LeaseError):
    """The GPU pool does not answer."""


class PoolFaultError(PoolUnreachableError):
    """The GPU pool says what keeps it from working; whoever asks may wait as for one that does not answer."""


class LeaseRefusedError(LeaseError):
    """The GPU pool refuses what was asked."""


class LeaseLostError(LeaseError):
    """The lease is no longer ours.

    Attributes
    ----------
    reason
        Why it ended, as the pool's books say; empty where they do not.
    why
        The same in the language of whoever asked.
    """

    reason = why = ""


@dataclass(frozen=True)
class Lease:
    """The right to use some GPUs.

    Attributes
    ----------
    id
        Its name in the pool.
    devices
        Indices of the GPUs, as CUDA counts them in PCI bus order; empty on a machine without any.
    environment
        What the holder's environment must say.
    state
        ``"suspended"`` while its GPUs are lent to others and its process's GPU memory lies in host memory.
    step
        The change that is under way: ``"suspending"`` or ``"restoring"``.
    holder, in_use
        The process on whose life it depends, and whether that is the one that uses the GPUs.
    is_idle
        Whether the pool believes that its holder does nothing.
    restart_at
        When the pool will restart an idle holder that it cannot suspend; None when it will not.
    lost
        Indices of those of its GPUs that the machine has lost: what is run on them fails.
    """

    id: str
    devices: tuple[int, ...]
    environment: Mapping[str, str]
    state: Literal["granted", "suspended"] = "granted"
    step: str = ""
    holder: Process | None = None
    in_use: bool = False
    is_idle: bool = False
    restart_at: datetime | None = None
    lost: tuple[int, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether its process may use its GPUs now."""
        return self.state == "granted" and not self.step


@dataclass(frozen=True)
class DeviceHolder:
    """Somebody who holds GPUs."""

    user: str
    label: str
    since: datetime
    devices: tuple[int, ...]


@dataclass(frozen=True)
class QueuePlace:
    """A place in the queue for GPUs.

    Attributes
    ----------
    id
        The lease's name in the pool, once it is granted.
    position
        1 for the next in line.
    holders
        Who holds the GPUs now.
    waits_for
        Its ``"turn"``, its user's own ``"quota"``, ``"devices"`` that are not there or are reserved, or free ones that
        are kept for somebody ahead who is ``"gathering"`` several.
    estimate
        Seconds until its turn; None where that cannot be said.
    is_suspended
        Whether it is a suspended process that asks to come back.
    """

    id: str
    position: int
    holders: tuple[DeviceHolder, ...]
    waits_for: str = "turn"
    estimate: float | None = None
    is_suspended: bool = False


@dataclass(frozen=True)
class Person:
    """Whom a service asks for: a hub user, and the user's groups."""

    name: str
    groups: tuple[str, ...] = ()


def new_lease_id() -> str:
    """Return an id for a lease that is asked for: who repeats an ask with it gets the same lease, not a second one."""
    return uuid.uuid4().hex


def read_lease(answer: dict[str, Any]) -> Lease | QueuePlace:
    """Return what the pool's JSON says.

    Raises
    ------
    LeaseLostError
        If the lease has ended.
    """
    if answer["state"] == "released":
        raise _lost(answer["reason"], answer["why"])
    if "position" in answer:
        return _read_place(answer)
    holder, restart_at = answer.get("holder"), answer.get("restart_at")
    return Lease(
        id=answer["id"],
        devices=tuple(answer["devices"]),
        environment=answer.get("environment", {}),
        state=answer["state"],
        step=answer["step"],
        holder=Process(holder["pid"], holder["start_time"]) if holder else None,
        in_use=bool(holder and holder["in_use"]),
        is_idle=answer["idle_since"] is not None,
        restart_at=datetime.fromisoformat(restart_at) if restart_at else None,
        lost=tuple(answer.get("lost", ())),
    )


def _lost(reason: str, why: str) -> LeaseLostError:
    error = LeaseLostError(_("The lease has ended: {reason}.", reason=why), _("Ask for another one."))
    error.reason, error.why = reason, why
    return error


def _read_place(answer: dict[str, Any]) -> QueuePlace:
    return QueuePlace(
        id=answer["id"],
        position=answer["position"],
        holders=tuple(_read_holder(one) for one in answer["holders"]),
        waits_for=answer["waits_for"],
        estimate=answer["estimate"],
        is_suspended=answer["state"] == "suspended",
    )


def _read_holder(answer: dict[str, Any]) -> DeviceHolder:
    since = datetime.fromisoformat(answer["since"])
    return DeviceHolder(printable(answer["user"]), printable(answer["label"]), since, tuple(answer["devices"]))
