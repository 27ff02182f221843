"""Opening the pool's database: for one service alone, brought up to date, or refused in plain words."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from armillary_kernels.errors import ArmillaryError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from armillary_hub.pool.faults import DatabaseFaultError, fault_of
from armillary_hub.pool.migrations import HEAD
from armillary_hub.pool.ownership import DatabaseInUseError, FileLock, Ownership, SessionLock

#: Milliseconds that a statement waits for another program's lock, such as a backup's: less than clients wait for us.
LOCK_PATIENCE = 4000


class OpenDatabase:
    """The database of the pool that this process serves.

    Parameters
    ----------
    url
        SQLAlchemy's URL.

    Raises
    ------
    DatabaseInUseError
        If another pool service has it.
    DatabaseFaultError
        If it is damaged, cannot be reached or written, or is of a newer Armillary.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._changing = threading.Lock()
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._read_options = {"reading": True} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._owner: Ownership | None = None
        try:
            self._owner = _take(self.engine)
            _check(self.engine)
            _upgrade(self.engine)
        except (DBAPIError, OSError) as error:
            self.close()
            raise fault_of(error, str(self.engine.url)) from error
        except ArmillaryError:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Change something: all of it, or nothing where it fails. One at a time, for this process is the only one.

        Raises
        ------
        DatabaseInUseError
            If another service has the database meanwhile; this one must end.
        DatabaseFaultError
            If its file is not there any more.
        """
        with self._changing:
            self._check_file()
            with self.engine.begin() as connection:
                if self._is_ours(connection):
                    yield connection
                    return
            if self._owner is not None:
                self._owner.retake()
            with self.engine.begin() as connection:
                if not self._is_ours(connection):
                    raise DatabaseInUseError(str(self.engine.url), "another service")
                yield connection

    def check(self) -> None:
        """Make sure that this process still is the only one that serves it; see `transaction`."""
        self._check_file()
        if isinstance(self._owner, FileLock) and self._owner.holds():
            return  # without a transaction, which would wait for a backup
        with self.transaction():
            pass

    def _check_file(self) -> None:
        if self._owner is not None:
            self._owner.check_database()

    def _is_ours(self, connection: Connection) -> bool:
        return self._owner is None or self._owner.holds(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Look at the database as it is at one moment, whatever is being changed.

        Raises
        ------
        DatabaseFaultError
            If its file is not there any more.
        """
        self._check_file()
        with self.engine.connect() as connection:
            yield connection.execution_options(**self._read_options)

    def close(self) -> None:
        """Close all connections, and let another service have it."""
        self.engine.dispose()
        if self._owner is not None:
            self._owner.close()
        self._owner = None


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(url)
        _prepare_sqlite(engine)
        return engine
    name = f"the GPU pool, process {os.getpid()} on {socket.gethostname()}"
    return create_engine(url, connect_args={"application_name": name[:63]}, pool_pre_ping=True)


def _take(engine: Engine) -> Ownership:
    if engine.dialect.name != "sqlite":
        return SessionLock(engine)
    return FileLock(Path(engine.url.database or ""))


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        # NORMAL: a killed pool loses nothing; a power cut may lose the last changes, but then the holders died as well.
        settings = (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "foreign_keys = ON",
            f"busy_timeout = {LOCK_PATIENCE}",
        )
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # Writers queue from their first statement on; a deferred one would fail when it turns from reading to writing.
        if connection.get_execution_options().get("reading"):
            # Straight to the driver, for it cannot fail: through a cursor it would take as long as what is read.
            connection.connection.driver_connection.execute("BEGIN")
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _check(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if answer != "ok":
        raise DatabaseFaultError(
            str(engine.url), f"is damaged ({answer})", "Restore it from a backup, or move it away."
        )


def _upgrade(engine: Engine) -> None:
    """Bring the tables up to date in one transaction: they are of the old revision or of the new one, never between."""
    with engine.begin() as connection:
        tables = set(inspect(connection).get_table_names())
        known = text("SELECT version_num FROM alembic_version")
        revision = connection.scalar(known) if "alembic_version" in tables else None
        if revision != HEAD:
            # It takes longer to load than all the rest, and is needed once a release.
            from armillary_hub.pool.upgrading import upgrade

            upgrade(connection, revision, is_empty="leases" not in tables, database=str(engine.url))
