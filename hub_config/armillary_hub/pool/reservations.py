"""GPUs kept for somebody at some time, such as for a class on Tuesdays from 9 to 11. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Literal
from zoneinfo import ZoneInfo

_WEEK = timedelta(days=7)

#: Weeks after which those that come every week have come together in each way that they do: the clocks of their zones
#: change at the same times of each year.
_YEAR = 53


@dataclass(frozen=True)
class Reservation:
    """Some GPUs for one person, or for the members of a group together.

    Attributes
    ----------
    id
        32 hexadecimal digits.
    scope, name
        ``"user"`` or ``"group"``, and which one.
    devices
        How many GPUs; which ones is open.
    starts, ends
        Local time in the zone, without an offset: every week at nine stays at nine when the clocks change.
    timezone
        Name in the IANA database, such as ``"Europe/Berlin"``.
    weekly
        Whether it comes again every week.
    note, made_by
        What for, and which admin made it.
    """

    id: str
    scope: Literal["user", "group"]
    name: str
    devices: int
    starts: datetime
    ends: datetime
    timezone: str
    weekly: bool
    note: str
    made_by: str

    def is_for(self, user: str, groups: Sequence[str]) -> bool:
        """Return whether a person may use what it keeps."""
        return self.name == user if self.scope == "user" else self.name in groups

    def plain(self) -> dict[str, Any]:
        """Return it as it is stored and sent: its times as ISO 8601."""
        return {**asdict(self), "starts": self.starts.isoformat(), "ends": self.ends.isoformat()}

    def span(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Return the start and the end, in UTC, of this time or the next one; None when it is over."""
        return next((span for span in self._spans(now) if now < span[1]), None)

    def spans(self, now: datetime, weeks: int) -> list[tuple[datetime, datetime]]:
        """Return the times that are not over, in UTC: the one that it has, or those of some weeks."""
        return [span for span in self._spans(now, weeks) if now < span[1]]

    def _spans(self, now: datetime, weeks: int = 1) -> Iterator[tuple[datetime, datetime]]:
        zone = ZoneInfo(self.timezone)
        passed = (now.astimezone(zone).replace(tzinfo=None) - self.starts) // _WEEK if self.weekly else 0
        for week in range(max(0, passed - 1), max(0, passed) + 1 + weeks) if self.weekly else (0,):
            starts, ends = (moment + week * _WEEK for moment in (self.starts, self.ends))
            yield starts.replace(tzinfo=zone).astimezone(UTC), ends.replace(tzinfo=zone).astimezone(UTC)


def in_force(reservations: Sequence[Reservation], now: datetime, lead: timedelta) -> list[Reservation]:
    """Return those that keep GPUs now; ``lead`` before its start one begins to keep what becomes free."""
    spans = [(reservation, reservation.span(now)) for reservation in reservations]
    return [reservation for reservation, span in spans if span is not None and span[0] - lead <= now]


def kept(reservations: Sequence[Reservation], devices: int) -> dict[str, int]:
    """Return how many devices each of some reservations in force keeps, by id: what those before it leave."""
    shares: dict[str, int] = {}
    for reservation in reservations:
        shares[reservation.id] = min(reservation.devices, devices - sum(shares.values()))
    return shares


def exists(moment: datetime, timezone: str) -> bool:
    """Return whether a local time comes at all: where the clocks are put forward an hour of them does not."""
    zone = ZoneInfo(timezone)
    return moment.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment


def most_at_once(new: Reservation, others: Sequence[Reservation], now: datetime) -> int:
    """Return how many GPUs are reserved at most at any time at which a new reservation keeps some.

    Of those that come every week a year is looked at, from now on and from the start of each that begins later.
    """
    most, looked = 0, now
    for moment in sorted(_starts((new, *others), now)):
        if moment > looked or moment == now:
            looked = moment + _YEAR * _WEEK
            every = [(*span, one.devices) for one in (new, *others) for span in one.spans(moment, 2 * _YEAR)]
            most = max(most, *(_most(*span, every) for span in new.spans(moment, 2 * _YEAR)), 0)
    return most


def _starts(reservations: Sequence[Reservation], now: datetime) -> set[datetime]:
    """Return when reservations begin, or come again; those under way, now."""
    spans = [one.span(now) for one in reservations]
    return {now, *(max(now, span[0]) for span in spans if span is not None)}


def _most(start: datetime, end: datetime, every: Sequence[tuple[datetime, datetime, int]]) -> int:
    """Return how many GPUs are reserved at most between two moments."""
    there = [one for one in every if one[0] < end and one[1] > start]
    changes = [(max(start, begins), devices) for begins, _, devices in there]
    changes += [(ends, -devices) for _, ends, devices in there]  # what ends is gone before what begins then
    return max(accumulate(devices for _, devices in sorted(changes)), default=0)
