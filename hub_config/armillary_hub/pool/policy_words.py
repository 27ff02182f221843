"""Quotas and reservations in words."""

from __future__ import annotations

from datetime import datetime

from armillary_kernels.lease_words import duration_words
from armillary_kernels.texts import translator

from armillary_hub.pool.quotas import QuotaRule
from armillary_hub.pool.reservations import Reservation

_ = translator(__file__)


def quota_in_words(rule: QuotaRule) -> dict[str, str]:
    """Return a quota's numbers as one types them; empty where there is no limit."""
    numbers = {"gpus": rule.quota.gpus, "gpu_hours": rule.quota.gpu_hours, "weight": rule.quota.weight}
    return {
        "scope": rule.scope,
        "name": rule.name,
        "whose": whose(rule.scope, rule.name),
        **{name: "" if number is None else f"{number:g}" for name, number in numbers.items()},
    }


def whose(scope: str, name: str) -> str:
    """Return whom a quota or a reservation is for."""
    if scope == "default":
        return _("Everybody else")
    return _("Group {name}", name=name) if scope == "group" else name


def reservation_in_words(reservation: Reservation, now: datetime) -> dict[str, str]:
    """Return a reservation as a line of a table has it."""
    span = reservation.span(now)
    begins = "" if span is None else _("in {duration}", duration=duration_words((span[0] - now).total_seconds()))
    return {
        "id": reservation.id,
        "whose": whose(reservation.scope, reservation.name),
        "devices": str(reservation.devices),
        "when": _when(reservation),
        "timezone": reservation.timezone,
        "begins": "" if span is not None and span[0] <= now else begins,
        "note": reservation.note,
        "made_by": reservation.made_by,
    }


def _when(reservation: Reservation) -> str:
    starts, ends = reservation.starts, reservation.ends
    same_day = starts.date() == ends.date()
    if reservation.weekly:
        until = f"{ends:%H:%M}" if same_day else f"{_weekday(ends)} {ends:%H:%M}"
        return _("every {weekday} {start}–{end}", weekday=_weekday(starts), start=f"{starts:%H:%M}", end=until)
    return f"{starts:%Y-%m-%d %H:%M}–{ends:%H:%M}" if same_day else f"{starts:%Y-%m-%d %H:%M} – {ends:%Y-%m-%d %H:%M}"


def _weekday(day: datetime) -> str:
    names = (
        _("Monday"),
        _("Tuesday"),
        _("Wednesday"),
        _("Thursday"),
        _("Friday"),
        _("Saturday"),
        _("Sunday"),
    )
    return names[day.weekday()]
