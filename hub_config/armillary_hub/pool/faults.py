"""What is wrong with the pool's database, in a person's words."""

from __future__ import annotations

import logging
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from armillary_hub.web.errors import WebError, error_response

_log = logging.getLogger(__name__)

#: What SQLite says, what it means, and what to do. PostgreSQL's own words are shown as they are.
_FAULTS = (
    ("locked", "is locked by another program", "End what holds it, such as a backup or an open sqlite3."),
    ("disk is full", "cannot be written: the disk is full", "Free some space; the pool goes on by itself."),
    ("disk I/O error", "cannot be read or written: the disk fails", "Look at the disk and at the system's log."),
    ("malformed", "is damaged", "Stop the pool, restore the database from a backup or move it away, and start again."),
    ("not a database", "is no database", "Restore it from a backup, or move it away and start again."),
    ("readonly", "cannot be written", "Let the pool's account write to it and to its folder."),
    ("unable to open", "cannot be opened", "Check that its folder is there and that the pool's account may enter it."),
)


class DatabaseFaultError(WebError):
    """The pool's database cannot be used. Nothing was changed: a transaction is whole or not there.

    Parameters
    ----------
    database
        Which one; no password.
    what, remedy
        What is wrong with it and what to do, in one sentence each.
    """

    def __init__(self, database: str, what: str, remedy: str) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The GPU pool's database {f'{database} ' if database else ''}{what}.",
            remedy,
        )


def fault_of(error: DBAPIError | OSError, database: str) -> DatabaseFaultError:
    """Return what a driver's error means."""
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    for words, what, remedy in _FAULTS:
        if words in said:
            return DatabaseFaultError(database, what, remedy)
    return DatabaseFaultError(database, f"cannot be used: {said}", "See that it runs and can be reached.")


async def answer_database_fault(request: Request, error: Exception) -> Response:
    """Answer a request that the database failed, as an exception handler of Starlette does."""
    if not isinstance(error, DBAPIError):
        raise error
    fault = fault_of(error, "")
    _log.error("%s", fault)
    return error_response(request, fault.status, fault.what, fault.remedy)
