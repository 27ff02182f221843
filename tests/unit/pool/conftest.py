"""Databases for the pool: SQLite's file, and a PostgreSQL server of our own."""

import uuid

import pytest
from sqlalchemy import create_engine, text
from support.postgresql import postgresql_server


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a PostgreSQL server on a Unix socket."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database, in each of the two kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pool.sqlite"
    server = request.getfixturevalue("postgresql")
    name = f"pool_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)
