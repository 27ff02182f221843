"""Bringing the pool's tables up to date with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from armillary_hub.pool.faults import DatabaseFaultError
from armillary_hub.pool.migrations import HEAD

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str | None, *, is_empty: bool, database: str) -> None:
    """Make the tables those of the newest revision.

    Parameters
    ----------
    connection
        In a transaction.
    revision
        What the tables are of; None where nobody wrote it down.
    is_empty
        Whether there are no tables yet.
    database
        Which one; no password.

    Raises
    ------
    DatabaseFaultError
        If the revision is not known.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS))
    if revision is not None:
        _require_known(revision, config, database)
    elif not is_empty:
        command.stamp(config, "0001")  # the first release kept no revision
    command.upgrade(config, HEAD)


def _require_known(revision: str, config: Config, database: str) -> None:
    if revision not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
        raise DatabaseFaultError(
            database,
            f"was written by a newer Armillary (revision {revision})",
            "Install that version again, or restore the backup that you made before it.",
        )
