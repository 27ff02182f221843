"""Which app a request was about, so that a page can speak of the app and not of a server of a robot account."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.release import Release

from armillary_hub.accounts.names import ROBOT_PREFIX
from armillary_hub.settings import Settings

_PATH = re.compile(rf"/(?:user|spawn|spawn-pending)/{ROBOT_PREFIX}([a-z0-9-]+)(?:/|\Z)")
_CLIENT = re.compile(rf"jupyterhub-user-{ROBOT_PREFIX}([a-z0-9-]+)\Z")


@dataclass(frozen=True)
class App:
    """An app as a page names it.

    Attributes
    ----------
    owner
        Who published it; empty where the hub doesn't know.
    """

    name: str
    owner: str


def app_of_request(handler: Any) -> App | None:
    """Return the app whose server, or whose sign-in, a request to the hub is about."""
    request = handler.request
    client = request.query_arguments.get("client_id", [b""])[0].decode("utf-8", "replace")
    found = _PATH.search(request.path) or _CLIENT.match(client)
    if found is None:
        return None
    settings = getattr(handler.authenticator, "settings", None)
    return App(found[1], owner_of(settings, found[1]) if settings else "")


def owner_of(settings: Settings, app: str) -> str:
    """Return who owns an app, as its current release says; empty when it doesn't."""
    try:
        return Release.read(settings.apps_dir / app / "current").owner
    except (ArmillaryError, OSError, ValueError):
        return ""
