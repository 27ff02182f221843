"""Guarding requests that a cookie signs against pages of other origins, and of other users on this one.

Without per-user domains all people's servers share the hub's origin, so an ``Origin`` check alone proves nothing.
As with JupyterHub, a request that a script made (``fetch``, XHR) or that changes something must carry a token bound
to the session. It lies in a cookie below the service's own path, under the name that Jupyter's own pages look for.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

HEADER = "x-xsrftoken"
ARGUMENT = "_xsrf"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def token_for(session: str, secret: str) -> str:
    """Return the XSRF token of a browser session."""
    return hmac.new(secret.encode(), f"xsrf:{session}".encode(), hashlib.sha256).hexdigest()


def is_guarded(connection: HTTPConnection) -> bool:
    """Return whether a request signed by a cookie must bring the token.

    Navigations, images, scripts, styles and fonts need none: the page that asked for them cannot read the answer.
    """
    if connection.scope["type"] == "websocket":
        return False
    return connection.scope["method"] not in _SAFE_METHODS or connection.headers.get("sec-fetch-dest") == "empty"


def is_genuine(connection: HTTPConnection, expected: str) -> bool:
    """Return whether a request signed by a cookie comes from our own pages."""
    if connection.scope["type"] == "websocket":
        origin = connection.headers.get("origin")
        return origin is None or urlsplit(origin).netloc == connection.headers.get("host")
    if not is_guarded(connection):
        return True
    brought = connection.headers.get(HEADER) or connection.query_params.get(ARGUMENT) or ""
    return hmac.compare_digest(brought.encode(), expected.encode())
