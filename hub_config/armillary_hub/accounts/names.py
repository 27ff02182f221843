"""Which names people and robot accounts may have.

A name is a JupyterHub user, a Unix account (at most 32 bytes), a folder and a part of an address at once, so only
what is plain in all four is allowed.
"""

from __future__ import annotations

import re

from armillary_hub.accounts.errors import NameRefused

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}\Z"

#: Robot accounts, one for each app. Nobody signs in as one.
ROBOT_PREFIX = "app-"

#: The group that every person, and no robot account, belongs to: apps are shared with everyone through it.
EVERYONE = "everyone"


def is_valid(name: str) -> bool:
    """Tell whether a person or a robot account can have this name."""
    return re.match(NAME_PATTERN, name) is not None


def is_robot(name: str) -> bool:
    """Tell whether the name is one of those reserved for apps."""
    return name.startswith(ROBOT_PREFIX)


def require_person_name(name: str) -> None:
    """Refuse a name that no person can have.

    Raises
    ------
    NameRefused
        If it is not a valid name or is reserved for apps.
    """
    if not is_valid(name):
        raise NameRefused(
            "'{name}' cannot be a user name.",
            "Use 1 to 31 lower-case letters, digits and hyphens, beginning with a letter.",
            name=name[:40],
        )
    if is_robot(name):
        raise NameRefused(
            "'{name}' cannot be a user name: names that begin with 'app-' are reserved for apps.", name=name
        )
