"""A person's notebook may call the apps that the person may open, also those shared while it runs.

JupyterHub narrows the scopes of a server's token to what its owner has when the server starts. This one is written
afterwards; at each request the hub still intersects it with what the owner may do then.
"""

from __future__ import annotations

import logging
from typing import Any

from jupyterhub import orm
from tornado.log import app_log

from armillary_hub.apps import ROBOTS

SCOPE = f"access:servers!group={ROBOTS}"


def let_token_open_apps(db: Any, token: str) -> None:
    """Add the scope to a server's token."""
    found = orm.APIToken.find(db, token)
    if found is not None and SCOPE not in found.scopes:
        found.scopes = [*found.scopes, SCOPE]
        db.commit()


class _OnlyTheExpected(logging.Filter):
    """Drops the hub's note, at every request, that the scope is wider than what the owner may do: it is meant to be."""

    def filter(self, record: logging.LogRecord) -> bool:
        note = str(record.msg)
        return not (note.startswith("discarding scopes") and f"'{SCOPE}'" in note and note.count("'") == 2)


def quiet_expected_notes() -> None:
    """Keep those notes out of the hub's log."""
    if not any(isinstance(known, _OnlyTheExpected) for known in app_log.filters):
        app_log.addFilter(_OnlyTheExpected())
