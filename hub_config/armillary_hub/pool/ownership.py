"""One pool service for one database: the second one refuses to start, and says which process has it.

The lock is one that the system takes back when its holder is killed: on SQLite that of a file beside the database, on
PostgreSQL an advisory lock of a session. Both may be lost while we live on: somebody removes the file, or the session
ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from armillary_hub.pool.faults import DatabaseFaultError, fault_of
from armillary_hub.web.errors import WebError

#: PostgreSQL's advisory locks are known by a number; this one is the pool's ("gpu pool" in ASCII, cut to 63 bits).
LOCK_NUMBER = int.from_bytes(b"gpu pool", "big") & (2**63 - 1)

#: The lock that transactions share, and a new owner waits for.
FENCE_NUMBER = LOCK_NUMBER ^ 1

_LOCK = {"high": LOCK_NUMBER >> 32, "low": LOCK_NUMBER & 0xFFFFFFFF}

#: One question for both, so that a transaction takes one more journey to the server.
_STILL_OURS = text(
    "SELECT CASE WHEN pg_try_advisory_xact_lock_shared(:fence) THEN EXISTS (SELECT FROM pg_locks"
    " WHERE locktype = 'advisory' AND granted AND classid = :high AND objid = :low AND pid = :pid) ELSE false END"
)

_HOLDER = text(
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND classid = :high AND objid = :low"
)


class DatabaseInUseError(WebError):
    """Another pool service has the database.

    Parameters
    ----------
    database, holder
        Which database, and which process has it.
    """

    def __init__(self, database: str, holder: str) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The GPU pool's database {database} is in use by {holder}.",
            "Two pools would give each GPU twice: stop that process, or leave it the database.",
        )


class Ownership(Protocol):
    """The right to serve a database alone."""

    def check_database(self) -> None:
        """Make sure that the database is still the one that was opened; `DatabaseFaultError` where it is not."""

    def holds(self, connection: Connection) -> bool:
        """Return whether it is ours until the transaction of a connection ends."""

    def retake(self) -> None:
        """Take it again after it was lost; `DatabaseInUseError` where another service has it."""

    def close(self) -> None:
        """Let others have it."""


class FileLock:
    """The lock of a file beside a SQLite database, which is made where there is none.

    Parameters
    ----------
    database
        The database's file, or a link to it: each of its names leads to the same lock.

    Raises
    ------
    DatabaseInUseError
        If another process has it.
    """

    def __init__(self, database: Path) -> None:
        self._database = database.resolve()
        # Not a lock on the database itself: closing any handle of a file drops SQLite's own locks on it.
        self._path = self._database.with_name(f"{self._database.name}.lock")
        self._file = self._take()
        try:
            self._database.touch(mode=0o600)  # nobody else reads who does what
            self._opened = self._database.stat()
        except OSError:
            self.close()
            raise

    def _take(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "?"
            os.close(file)
            raise DatabaseInUseError(str(self._database), f"process {holder}") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return file

    def check_database(self) -> None:
        """Make sure that the file is there; SQLite itself would write into one that nobody finds any more."""
        try:
            now = self._database.stat()
        except FileNotFoundError:
            now = None
        except OSError as error:
            raise fault_of(error, str(self._database)) from error
        if now is None or not os.path.samestat(now, self._opened) or now.st_size == 0:
            raise DatabaseFaultError(
                str(self._database),
                "was removed, emptied or replaced while the pool uses it",
                "Stop the pool, restore the database from a backup, and start again.",
            )

    def holds(self, connection: Connection | None = None) -> bool:
        """Return whether the file is still where others look for it: they would make, and take, another one."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def retake(self) -> None:
        """Take the lock of the file that is there now."""
        lost, self._file = self._file, self._take()
        os.close(lost)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)


class SessionLock:
    """The advisory lock of a session of its own on a PostgreSQL server.

    A server that is restarted, or a firewall that drops quiet connections, ends the session, and another service may
    become the owner. So each transaction looks whether the session still has the lock, and shares a second lock until
    it ends, for which a new owner waits: no two owners ever write.

    Parameters
    ----------
    engine
        The database.

    Raises
    ------
    DatabaseInUseError
        If another session has it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.retake()

    def check_database(self) -> None:
        """Do nothing: the server looks after its files."""

    def holds(self, connection: Connection) -> bool:
        """Return whether the lock is still ours, and will be until the transaction ends."""
        return bool(connection.scalar(_STILL_OURS, {**_LOCK, "fence": FENCE_NUMBER, "pid": self._pid}))

    def retake(self) -> None:
        """Take the lock in a new session."""
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": LOCK_NUMBER}):
            with contextlib.closing(connection):
                holder = connection.scalar(_HOLDER, _LOCK)
            raise DatabaseInUseError(self._engine.url.render_as_string(), holder or "another session")
        # What an earlier owner has begun is done first.
        for call in ("pg_advisory_lock", "pg_advisory_unlock"):
            connection.execute(text(f"SELECT {call}(:fence)"), {"fence": FENCE_NUMBER})
        self._connection = connection
        self._pid = connection.scalar(text("SELECT pg_backend_pid()"))

    def close(self) -> None:
        """Let others have it: at once, not when the server has noticed that the session is gone."""
        with contextlib.suppress(DBAPIError):
            self._connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": LOCK_NUMBER})
        with contextlib.suppress(DBAPIError):
            self._connection.close()
