"""One pool service for one database: the second one refuses to start, and says which process has it.

The lock is one that the system takes back when its holder is killed: on SQLite that of a file beside the database, on
PostgreSQL an advisory lock of a session.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from armillary_kernels.errors import ArmillaryError
from sqlalchemy import Engine, text

#: PostgreSQL's advisory locks are known by a number; this one is the pool's ("gpu pool" in ASCII, cut to 63 bits).
LOCK_NUMBER = int.from_bytes(b"gpu pool", "big") & (2**63 - 1)

_HOLDER = text(
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND classid = :high AND objid = :low"
)


class DatabaseInUseError(ArmillaryError):
    """Another pool service has the database.

    Parameters
    ----------
    database, holder
        Which database, and which process has it.
    """

    def __init__(self, database: str, holder: str) -> None:
        super().__init__(
            f"The GPU pool's database {database} is in use by {holder}.",
            "Two pools would give each GPU twice: stop that process, or leave it the database.",
        )


def take_file(database: Path) -> Callable[[], None]:
    """Become the only one that serves a SQLite database; returns what gives it up.

    Raises
    ------
    DatabaseInUseError
        If another process has it.
    """
    # Not a lock on the database itself: closing any handle of a file drops SQLite's own locks on it.
    path = database.with_name(f"{database.name}.lock")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "?"
        os.close(file)
        raise DatabaseInUseError(str(database), f"process {holder}") from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return lambda: os.close(file)


def take_session(engine: Engine) -> Callable[[], None]:
    """Become the only one that serves a PostgreSQL database; returns what gives it up.

    Raises
    ------
    DatabaseInUseError
        If another session has it.
    """
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()
    if connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": LOCK_NUMBER}):
        return connection.close
    halves = {"high": LOCK_NUMBER >> 32, "low": LOCK_NUMBER & 0xFFFFFFFF}
    with contextlib.closing(connection):
        holder = connection.scalar(_HOLDER, halves)
    raise DatabaseInUseError(engine.url.render_as_string(), holder or "another session")
