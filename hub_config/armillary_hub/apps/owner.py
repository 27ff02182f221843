"""Whose quota an app's GPU counts for: its owner's, as the apps service wrote it down beside the app's releases.

In team mode the file is root's: the app, which has an account of its own, cannot name another owner.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from armillary_hub.accounts.names import ROBOT_PREFIX, is_robot
from armillary_hub.settings import write_atomically

_FILE = "owner.json"


@dataclass(frozen=True)
class AppOwner:
    """A person who published an app, and the groups that the person was in when it last started."""

    name: str
    groups: tuple[str, ...]

    def write(self, apps: Path, robot: str) -> None:
        """Write down that this is the owner of the app that runs as ``robot``."""
        write_atomically(_file(apps, robot), json.dumps(asdict(self)))


def owner_of(apps: Path, user: str) -> AppOwner | None:
    """Return the owner of the app that a hub user is; None for a person, or for an app that never started.

    Parameters
    ----------
    apps
        ``Settings.apps_dir``.
    """
    if not is_robot(user):
        return None
    try:
        values = json.loads(_file(apps, user).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return AppOwner(values["name"], tuple(values["groups"]))


def _file(apps: Path, robot: str) -> Path:
    return apps / robot.removeprefix(ROBOT_PREFIX) / _FILE
