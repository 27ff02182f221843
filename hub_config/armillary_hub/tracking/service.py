"""MLflow as a hub service: ``python -m armillary_hub.tracking.service``.

A person's requests, by token or by sign-in, always go to their own workspace, whatever they ask for. An admin opens
another's at ``of/<user>/``, or with a program by ``MLFLOW_WORKSPACE`` (header ``X-MLFLOW-WORKSPACE``). MLflow itself
sees no cookie and no token.
"""

from __future__ import annotations

import re
from pathlib import Path

from armillary_kernels.texts import language_of
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from armillary_hub.settings import Settings
from armillary_hub.tracking.application import (
    WORKSPACE_HEADER,
    LazyMLflow,
    is_open,
    is_server_info,
    is_workspaces,
    workspace_of,
)
from armillary_hub.web.errors import EXCEPTION_HANDLERS, WebError, wants_page
from armillary_hub.web.identity import HubIdentity, Identity
from armillary_hub.web.pages import render
from armillary_hub.web.server import serve

SERVICE = "mlflow"
PREFIX = f"/services/{SERVICE}"

#: Where an admin sees the MLflow of another person.
_OF = re.compile(r"/of/(?P<owner>[a-z][a-z0-9-]*)(?P<path>/.*)")

#: MLflow's pages send every cookie of such a name as a header; so they carry the XSRF token.
_XSRF_COOKIES = ("_xsrf", "mlflow-request-header-X-XSRFToken")

_DROPPED = frozenset(
    (b"authorization", b"cookie", b"origin", b"host", b"x-xsrftoken", WORKSPACE_HEADER.lower().encode())
)


def tracking_app(settings: Settings) -> Starlette:
    """Return the service."""
    identity = HubIdentity(settings, SERVICE, public_paths=("health",), xsrf_cookies=_XSRF_COOKIES)
    return Starlette(
        routes=[
            *identity.routes(),
            Route(f"{PREFIX}/health", _health),
            Mount(PREFIX, PersonalMLflow(LazyMLflow(settings))),
        ],
        middleware=[identity.middleware()],
        exception_handlers=EXCEPTION_HANDLERS,
    )


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


class PersonalMLflow:
    """An ASGI application that shows each person an MLflow of their own.

    Parameters
    ----------
    mlflow
        The application behind.
    """

    def __init__(self, mlflow: LazyMLflow) -> None:
        self._mlflow = mlflow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise WebError(404, f"There is nothing at {scope['path']}.")
        connection = HTTPConnection(scope)
        identity: Identity = connection.state.identity
        owner, path = _owner_and_path(scope["path"].removeprefix(PREFIX), identity)
        _check(identity, scope["method"], path)
        if not self._mlflow.is_loaded and wants_page(connection):
            self._mlflow.start()
            await _starting_page(connection, identity)(scope, receive, send)
            return
        mlflow = await self._mlflow.get()
        workspace = await self._workspace(connection, identity, owner)
        if is_server_info(path) and (identity.xsrf or not identity.admin):
            # Its pages then offer no choice of workspaces, which would stand between people and their runs.
            await JSONResponse({**mlflow.server_info(), "workspaces_enabled": False})(scope, receive, send)
            return
        await mlflow.app(_inner_scope(scope, path, workspace), receive, send)

    async def _workspace(self, connection: HTTPConnection, identity: Identity, owner: str) -> str:
        if owner != identity.name:
            return workspace_of(owner)
        own = workspace_of(identity.name)
        await self._mlflow.require_workspace(own)
        asked = connection.headers.get(WORKSPACE_HEADER, "")
        return asked if asked and identity.admin else own


def _owner_and_path(path: str, identity: Identity) -> tuple[str, str]:
    """Return whose MLflow a request is for, and the path in it."""
    if match := _OF.fullmatch(path):
        if not identity.admin:
            raise WebError(404, f"There is nothing at {PREFIX}{path}.")
        return match["owner"], match["path"]
    return identity.name, path


def _check(identity: Identity, method: str, path: str) -> None:
    """Refuse what nobody, or not this caller, may use."""
    if identity.kind != "user":
        raise WebError(403, f"{identity.name} is no user.", "Use a token of a person.")
    if is_open(path) or is_server_info(path) or (is_workspaces(path) and identity.admin and method == "GET"):
        return
    raise WebError(404, f"There is nothing at {PREFIX}{path}.", "This part of MLflow is switched off.")


def _inner_scope(scope: Scope, path: str, workspace: str) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _DROPPED]
    headers += [(b"host", b"127.0.0.1"), (WORKSPACE_HEADER.lower().encode(), workspace.encode())]
    inner = {**scope, "path": path, "raw_path": path.encode(), "root_path": "", "app_root_path": "", "headers": headers}
    # The service's own application and sign-in are not MLflow's business.
    return {name: value for name, value in inner.items() if name not in ("app", "router", "endpoint", "state")}


def _starting_page(connection: HTTPConnection, identity: Identity) -> Response:
    language = language_of(connection.headers.get("accept-language"))
    folder = Path(__file__).parent / "templates"
    page = render("starting.html", identity=identity, language=language, folder=folder)
    return HTMLResponse(page, 503, {"Refresh": "2", "Retry-After": "2"})


def main() -> None:
    """Serve the tracking of the deployment that ``ARMILLARY_HOME`` names."""
    settings = Settings.load()
    serve(tracking_app(settings), port=settings.port_of(SERVICE))


if __name__ == "__main__":
    main()
