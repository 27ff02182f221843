"""What has happened since the books were begun, counted from the audit: waits, suspensions and restorations.

What is counted survives a restart of the pool, and what is forgotten of the audit: the counts up to some line of it are
kept in the books (`armillary_hub.pool.pruning`), and it is read on from there. Prometheus's own counters would begin
anew with every process.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from armillary_hub.pool.records import Change
from armillary_hub.pool.reports import Reports
from armillary_hub.pool.store import ASKED_BACK, NOT_RESTORED, NOT_SUSPENDED, RESTORED, SUSPENDED

#: Upper bounds of the classes of waits, in seconds: from at once to a day.
BOUNDS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0)

#: Lines of the audit that are read at a time.
_LINES = 5000

_STEPS = {
    SUSPENDED: ("suspension", "done"),
    NOT_SUSPENDED: ("suspension", "failed"),
    RESTORED: ("restoration", "done"),
    NOT_RESTORED: ("restoration", "failed"),
}


@dataclass
class Waits:
    """How long leases waited in the queue: how many up to each of `BOUNDS`, and beyond, and the sum in seconds."""

    classes: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.classes[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class AuditCounts:
    """The counts.

    Parameters
    ----------
    reports
        The books.

    Attributes
    ----------
    waits
        From asking to a grant; coming back from a suspension is a wait of its own.
    steps
        How often a ``("suspension", "done")`` was made; ``"restoration"`` and ``"failed"`` likewise.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._lock = threading.Lock()
        self._number: int | None = None  # the last line that is counted; None before the books were looked at
        self._waiting: dict[str, datetime] = {}
        self.waits = Waits()
        self.steps: Counter[tuple[str, str]] = Counter(dict.fromkeys(_STEPS.values(), 0))

    def read_on(self) -> None:
        """Count what has happened since the last call."""
        with self._lock:
            number = self._begin() if self._number is None else self._number
            while changes := self._reports.changes_after(number, _LINES):
                for change in changes:
                    self._count(change)
                number = changes[-1].number
            self._number = number

    def plain(self) -> tuple[int, dict[str, Any]]:
        """Return the number of the last line that is counted, and the counts as JSON has them."""
        with self._lock:
            counts = {
                "classes": self.waits.classes,
                "total": self.waits.total,
                "steps": [[*step, count] for step, count in self.steps.items()],
                "waiting": {lease_id: since.isoformat() for lease_id, since in self._waiting.items()},
            }
            return self._number or 0, counts

    def _begin(self) -> int:
        """Take over what the books have counted; returns up to which line."""
        number, counts = self._reports.counted()
        if counts:
            self.waits = Waits(list(counts["classes"]), counts["total"])
            self.steps.update({(kind, result): count for kind, result, count in counts["steps"]})
            self._waiting = {one: datetime.fromisoformat(since) for one, since in counts["waiting"].items()}
        return number

    def _count(self, change: Change) -> None:
        step = _STEPS.get(change.reason.partition(":")[0])
        if change.before == "granted" and step is not None:
            self.steps[step] += 1
        if change.before is None or change.reason == ASKED_BACK:
            self._waiting[change.lease_id] = change.at
        elif change.before != "granted" and change.after == "granted":
            asked = self._waiting.pop(change.lease_id, change.at)
            self.waits.add((change.at - asked).total_seconds())
        elif change.after == "released":
            self._waiting.pop(change.lease_id, None)
