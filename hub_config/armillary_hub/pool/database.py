"""The pool's tables, and how they are opened.

``holdings`` has one row for each GPU that somebody holds, and the GPU is its key: the database itself refuses to give
one GPU twice, whatever the code above it does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    make_url,
)

metadata = MetaData()

leases = Table(
    "leases",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order in which they were asked for
    Column("id", String(32), nullable=False, unique=True),
    Column("user", String(255), nullable=False, index=True),
    Column("purpose", String(16), nullable=False),
    Column("label", String(200), nullable=False),
    Column("wanted", Integer, nullable=False),  # GPUs
    Column("state", String(16), nullable=False, index=True),
    Column("pid", Integer, nullable=False),
    Column("start_time", Integer, nullable=False),
    Column("in_use", Boolean, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("granted_at", DateTime(timezone=True)),
    Column("released_at", DateTime(timezone=True)),
    Column("reason", String(200), nullable=False, default=""),
)

holdings = Table(
    "holdings",
    metadata,
    Column("device", String(96), primary_key=True),  # the GPU's UUID
    Column("lease_id", ForeignKey("leases.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),  # its place among the lease's GPUs
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("lease_id", String(32), nullable=False, index=True),
    Column("user", String(255), nullable=False),
    Column("before", String(16)),
    Column("after", String(16), nullable=False),
    Column("devices", JSON, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("reason", String(200), nullable=False),
)


def open_database(url: str) -> Engine:
    """Open the database at a SQLAlchemy URL and make the tables that it lacks."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
        _make_private(url)
    metadata.create_all(engine)
    return engine


def _make_private(url: str) -> None:
    """Let nobody else read who does what."""
    if database := make_url(url).database:
        Path(database).touch(mode=0o600)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        # NORMAL: a killed pool loses nothing; a power cut may lose the last changes, but then the holders died as well.
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # Writers queue from their first statement on; a deferred one would fail when it turns from reading to writing.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
