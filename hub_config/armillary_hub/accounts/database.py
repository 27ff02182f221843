"""The accounts' own small database: hashed passwords and hashed invitations, nothing that signs anyone in by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from sqlalchemy import Boolean, DateTime, Engine, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of this database."""


class PasswordRow(Base):
    """One person's password."""

    __tablename__ = "passwords"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    hashed: Mapped[str] = mapped_column(String(255))
    changed: Mapped[datetime] = mapped_column(DateTime)


class InvitationRow(Base):
    """One invitation. ``name`` is None for the first admin, who chooses it."""

    __tablename__ = "invitations"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(32), index=True)
    admin: Mapped[bool] = mapped_column(Boolean)
    created: Mapped[datetime] = mapped_column(DateTime)
    expires: Mapped[datetime] = mapped_column(DateTime)


def now() -> datetime:
    """Return the time in UTC without a zone, as SQLite keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


@cache
def engine_for(url: str) -> Engine:
    """Return the engine of a database, its tables made."""
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    return engine
