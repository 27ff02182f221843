"""Asks that come twice, and asks that come after their asker has given them up.

An asker that gets no answer in time does not know whether it was heard. It chooses the id of its lease, so that it may
say again what it said: the same ask gives the same lease, and what was given back before it came stays given back.
"""

from __future__ import annotations

import threading
from http import HTTPStatus

from armillary_kernels.texts import translator

from armillary_hub.pool.records import Lease
from armillary_hub.web.errors import WebError

_ = translator(__file__)

#: Ids that are kept in mind. An ask comes seconds after it was given up, if it comes at all.
_KEPT = 1000


def check_asker(lease: Lease, asked_by: str | None, user: str, actor: str) -> None:
    """Refuse an id that somebody else has chosen before, without a word of what it stands for.

    Parameters
    ----------
    lease
        The lease that has the id.
    asked_by
        Who asked for it.
    user, actor
        For whom it is asked now, and who asks.
    """
    if (lease.user, asked_by) != (user, actor):
        what = _("This id cannot be used: it is another lease's.")
        raise WebError(HTTPStatus.CONFLICT, what, _("Choose another id, at random, or leave it out."))


class GivenUp:
    """The ids that were given back before they were asked for. Its methods may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[tuple[str, str], None] = {}

    def add(self, actor: str, lease_id: str) -> None:
        """Note that an asker wants a lease no more; the oldest note is forgotten for it."""
        with self._lock:
            self._ids[actor, lease_id] = None
            if len(self._ids) > _KEPT:
                del self._ids[next(iter(self._ids))]

    def take(self, actor: str, lease_id: str) -> bool:
        """Return whether an asker wants a lease no more, and forget it."""
        with self._lock:
            return (actor, lease_id) in self._ids and self._ids.pop((actor, lease_id)) is None
