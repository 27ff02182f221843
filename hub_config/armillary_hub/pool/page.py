"""The page that shows the GPUs, who holds them and who waits; admins share them out there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from armillary_kernels.lease_words import (
    amount_words,
    duration_words,
    estimate_words,
    memory_words,
    purpose_words,
    waits_for_words,
)
from armillary_kernels.sparkline import sparkline
from armillary_kernels.texts import own_language, translator

from armillary_hub.pool.forms import Filled
from armillary_hub.pool.history import History
from armillary_hub.pool.policy_words import quota_in_words, reservation_in_words
from armillary_hub.pool.quotas import QuotaRule, quota_of
from armillary_hub.pool.reasons import reason_in_words
from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.pool.reservations import Reservation
from armillary_hub.pool.views import Books, may_see_details
from armillary_hub.web.pages import render

_ = translator(__file__)


@dataclass(frozen=True)
class Sight:
    """What there is to see, read at one moment.

    Attributes
    ----------
    books
        The books as the person sees them.
    histories
        The last hour of each GPU, by UUID.
    quotas, reservations
        All of them.
    day_hours
        GPU-hours that the person used in the last 24 hours.
    suspends
        Whether idle kernels are suspended here.
    not_kept_apart
        Why programs can open any GPU; None where Linux lets them open those of their leases only.
    now
        The time on the wall, in UTC.
    """

    books: Books
    histories: Mapping[str, History]
    quotas: Sequence[QuotaRule]
    reservations: Sequence[Reservation]
    day_hours: float
    suspends: bool
    not_kept_apart: str | None
    now: datetime


@dataclass(frozen=True)
class _Row:
    """One lease or ask, in words."""

    id: str
    user: str
    mine: bool
    purpose: str
    label: str
    amount: str
    since: str
    duration: str
    idle: str
    step: str
    state: str
    in_use: bool
    may_end: bool
    may_suspend: bool
    ends: str = ""
    waits_for: str = ""
    estimate: str = ""


def gpus_page(sight: Sight, filled: Filled, *, done: str = "", edited: str = "") -> str:
    """Return the page as one person may see it.

    Parameters
    ----------
    sight
        What there is to see.
    filled
        A form that could not be done, to be shown as it was.
    done
        The action of the form that was done last.
    edited
        ``scope/name`` of the quota that the form is to change.
    """
    books = sight.books
    queue = [_row(lease, sight) for lease in books.queue]
    return render(
        "gpus.html",
        identity=books.identity,
        language=own_language(),
        folder=Path(__file__).parent,
        about=_about(sight),
        driver=books.beside.driver,
        apart=_apart(sight),
        devices=[_device(device, sight) for device in books.devices],
        queue=queue,
        places=[(place, row) for place, row in enumerate(queue, start=1) if row.mine],
        suspended=[_row(lease, sight) for lease in _suspended(books)],
        unleased=[_unleased(books.unleased(use)) for use in books.beside.unleased],
        on_cpu=sum(1 for lease in books.leases if lease.state == "granted" and not lease.devices),
        mine=_mine(sight),
        reservations=[reservation_in_words(one, sight.now) for one in sight.reservations],
        quotas=[quota_in_words(rule) for rule in sight.quotas] if books.identity.admin else [],
        filled=filled,
        done=done,
        edited=_edited(sight, edited),
        people=_people(books),
        xsrf=books.identity.xsrf,
    )


def _about(sight: Sight) -> str:
    """Return how GPUs are shared here, in two sentences."""
    if not sight.suspends:
        return _("Who has used the least lately is served first. A kernel holds its GPUs until it is shut down.")
    return _(
        "Who has used the least lately is served first. A kernel that has been idle for {idle} gives its GPU to "
        "whoever waits for it; what is in its memory is kept, and comes back when the next cell is run.",
        idle=duration_words(sight.books.situation.rules.idle_after),
    )


def _apart(sight: Sight) -> str:
    """Return which GPUs a program can open."""
    if sight.not_kept_apart is None:
        return _("Linux lets a person’s program open the GPUs of its lease only.")
    reason = reason_in_words(sight.not_kept_apart)
    return _(
        "A program can open any GPU: {reason}. What does so without a lease is found and shown here.", reason=reason
    )


def _suspended(books: Books) -> list[Lease]:
    return [lease for lease in books.leases if lease.state == "suspended" and lease.waiting_since is None]


def _mine(sight: Sight) -> dict[str, str]:
    """Return what the person holds and has used, and how much that may be."""
    identity, books = sight.books.identity, sight.books
    quota = quota_of(identity.name, identity.groups, sight.quotas)
    held = sum(lease.gpus for lease in books.leases if lease.user == identity.name and lease.devices)
    figures = {
        _("GPUs that you hold"): _of(held, quota.gpus),
        _("GPU-hours in the last 24 hours"): _of(sight.day_hours, quota.gpu_hours),
    }
    if quota.weight not in (None, 1.0):
        figures[_("Your weight in the queue")] = f"{quota.weight:g}"
    return figures


def _of(used: float, most: float | None) -> str:
    shown = f"{round(used, 2):g}"
    return shown if most is None else _("{used} of {most}", used=shown, most=f"{most:g}")


def _device(device: BookedDevice, sight: Sight) -> dict[str, object]:
    holders = sight.books.holders_of(device)
    return {
        "index": device.index,
        "name": device.name,
        "memory": memory_words(device.memory) if device.memory else "",
        "state": device.state,
        "trouble": reason_in_words(device.trouble) if device.trouble else "",
        "holders": [_row(holder, sight) for holder in holders],
        "chart": _chart(device, sight.histories.get(device.uuid)),
    }


def _chart(device: BookedDevice, history: History | None) -> dict[str, str] | None:
    if history is None or history.used.most is None:
        return None
    worked, used = history.worked, history.used
    values = {name: _percent(getattr(worked, name)) for name in ("now", "mean", "most")}
    area = [None if one is None or not device.memory else one / device.memory for one in history.memory]
    shown = {
        "worked": _("busy {now} · mean {mean} · max {most}", **values) if worked.most is not None else "",
        "used": _("memory {now} · max {most}", now=memory_words(used.now or 0), most=memory_words(used.most or 0)),
    }
    figures = ", ".join(text for text in shown.values() if text).replace(" ·", ",")
    label = _("GPU {n} in the last hour: {figures}", n=device.index, figures=figures)
    return {"drawing": sparkline(history.utilisation, area, label), **shown}


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{part:.0%}"


def _row(lease: Lease, sight: Sight) -> _Row:
    books, identity = sight.books, sight.books.identity
    mine = identity.kind == "user" and lease.user == identity.name
    since = books.beside.suspended_since.get(lease.id, lease.since) if lease.waiting_since is None else lease.since
    waits = lease.waiting_since is not None
    idle = lease.idle_since is not None and not lease.step
    return _Row(
        id=lease.id,
        user=lease.user,
        mine=mine,
        purpose=purpose_words(lease.purpose),
        label=lease.label if may_see_details(identity, lease) else "",
        amount=amount_words(lease.wanted, lease.memory),
        since=f"{since:%Y-%m-%d %H:%M} UTC",
        duration=_ago(since, books),
        idle=_ago(lease.idle_since, books) if idle and lease.idle_since else "",
        step=lease.step,
        state=lease.state,
        in_use=lease.in_use,
        may_end=mine or identity.admin,
        may_suspend=(mine or identity.admin) and idle and sight.suspends and lease.in_use and bool(lease.devices),
        ends=f"{lease.ends_at:%H:%M} UTC" if lease.ends_at else "",
        waits_for=waits_for_words(books.waits_for(lease)) if waits else "",
        estimate=estimate_words(books.estimate(lease)) if waits else "",
    )


def _unleased(use: Mapping[str, Any]) -> dict[str, str]:
    """Return use of a GPU that no lease covers, in words."""
    beyond = _("more memory than its lease is for")
    return {
        "gpu": "?" if use["device"] is None else f"GPU {use['device']}",
        "account": use["user"] or _("cannot be seen from here"),
        "pid": str(use["pid"]),
        "memory": memory_words(use["memory"] / 2**20) if use["memory"] else "",
        "reason": _("no lease") if use["reason"] == "no lease" else beyond,
    }


def _ago(moment: datetime, books: Books) -> str:
    return duration_words((books.situation.now - moment).total_seconds())


def _edited(sight: Sight, whose: str) -> dict[str, Any]:
    """Return the quota that the form begins with: one that is to be changed, or an empty one."""
    for rule in sight.quotas if sight.books.identity.admin else ():
        if whose == f"{rule.scope}/{rule.name}":
            return {"scope": rule.scope, "name": rule.name, **quota_in_words(rule)}
    return {"scope": "user"}


def _people(books: Books) -> list[str]:
    """Return the names that forms propose: users and groups that the books know of."""
    if not books.identity.admin:
        return []
    named = {name for lease in books.leases for name in (lease.user, *lease.groups)}
    return sorted(named | set(books.situation.recent))
