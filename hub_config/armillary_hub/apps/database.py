"""What the apps service remembers of each app."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from armillary_hub.accounts.names import ROBOT_PREFIX


class _Base(DeclarativeBase):
    """All tables of the service."""


class App(_Base):
    """One app.

    Attributes
    ----------
    name, owner, title, description
        As its current release says.
    access
        ``Access`` as JSON.
    release
        Number of the current release; 0 before the first one serves.
    state
        ``"starting"``, ``"ready"`` or ``"failed"``.
    failure
        What went wrong with the last release: ``{"release", "what", "remedy", "log"}``; None when it serves.
    """

    __tablename__ = "apps"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    title: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    access: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    release: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default="starting")
    failure: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    created: Mapped[str] = mapped_column(default=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    updated: Mapped[str] = mapped_column(default=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def robot(self) -> str:
        """The hub user that the app runs as."""
        return f"{ROBOT_PREFIX}{self.name}"


class Database:
    """The service's tables."""

    def __init__(self, url: str) -> None:
        file = make_url(url).database
        if url.startswith("sqlite") and file:
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        self._engine = create_engine(url)
        _Base.metadata.create_all(self._engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session that commits at its end; objects stay readable afterwards."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def get(self, name: str) -> App | None:
        """Return an app, or None."""
        with self.session() as session:
            return session.get(App, name)

    def all(self) -> list[App]:
        """Return all apps by name."""
        with self.session() as session:
            return sorted(session.query(App).all(), key=lambda app: app.name)

    def put(self, app: App) -> None:
        """Add an app."""
        with self.session() as session:
            session.add(app)

    def update(self, name: str, **values: Any) -> App | None:
        """Change an app's values; returns it, or None when it is gone."""
        with self.session() as session:
            app = session.get(App, name)
            if app is not None:
                for key, value in values.items():
                    setattr(app, key, value)
                app.updated = datetime.now(UTC).isoformat(timespec="seconds")
            return app

    def delete(self, name: str) -> None:
        """Forget an app."""
        with self.session() as session:
            if app := session.get(App, name):
                session.delete(app)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
