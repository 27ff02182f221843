"""Which apps a person may see, and what of each."""

from __future__ import annotations

from typing import Any

from armillary_hub.apps.access import Access
from armillary_hub.apps.database import App
from armillary_hub.apps.release_store import ReleaseStore
from armillary_hub.web.identity import Identity


def may_manage(app: App, identity: Identity) -> bool:
    """Return whether a person may change an app: its owner and admins."""
    return identity.kind == "user" and (identity.name == app.owner or identity.admin)


def may_open(app: App, identity: Identity) -> bool:
    """Return whether a person may open an app."""
    return may_manage(app, identity) or Access.parse(app.access).admits(identity.name, identity.groups)


def described(app: App, identity: Identity, origin: str, store: ReleaseStore) -> dict[str, Any]:
    """Return an app for the person who asks; owner and admins see access, releases and failures too.

    ``origin`` is the deployment's address as the person reaches it.
    """
    address = f"{origin}/user/{app.robot}/"
    about = {
        "name": app.name,
        "title": app.title,
        "description": app.description,
        "owner": app.owner,
        "state": app.state,
        "release": app.release,
        "url": address,
        "api_url": f"{address}v2/models/{app.name}",
        "updated": app.updated,
        "managed": may_manage(app, identity),
    }
    if about["managed"]:
        about.update(access=app.access, releases=store.numbers(app.name), failure=app.failure)
    return about
