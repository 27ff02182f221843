"""The REST API that ``armillary.publishing`` calls, under ``/services/apps/api/``."""

from __future__ import annotations

from typing import Any

from armillary_kernels.release import AppName
from armillary_kernels.texts import translator
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from armillary_hub.accounts.names import is_robot
from armillary_hub.apps.access import Access
from armillary_hub.apps.catalogue import described, may_manage, may_open
from armillary_hub.apps.database import App
from armillary_hub.apps.publisher import Publisher
from armillary_hub.apps.uploads import read_upload
from armillary_hub.web.errors import WebError
from armillary_hub.web.identity import Identity

_ = translator(__file__)

_NAME = TypeAdapter(AppName)


def routes(prefix: str) -> list[Route]:
    """Return the routes below ``prefix``, which ends in a slash."""
    return [
        Route(f"{prefix}apps", list_apps),
        Route(f"{prefix}apps/{{name}}", show),
        Route(f"{prefix}apps/{{name}}", unpublish, methods=["DELETE"]),
        Route(f"{prefix}apps/{{name}}/releases", publish, methods=["POST"]),
        Route(f"{prefix}apps/{{name}}/rollback", rollback, methods=["POST"]),
        Route(f"{prefix}apps/{{name}}/access", change_access, methods=["PUT"]),
    ]


async def list_apps(request: Request) -> Response:
    """``GET apps``: those that the caller may open."""
    identity, state = _caller(request), request.app.state
    return JSONResponse([_described(request, app) for app in state.database.all() if may_open(app, identity)])


async def show(request: Request) -> Response:
    """``GET apps/{name}``: one app."""
    app = _publisher(request).existing(request.path_params["name"])
    if not may_open(app, _caller(request)):
        what = _("There is no app '{name}' that you may open.", name=app.name)
        raise WebError(404, what, _("Ask its owner for access."))
    return JSONResponse(_described(request, app))


async def publish(request: Request) -> Response:
    """``POST apps/{name}/releases``: the next release, or the first one of a new app."""
    identity = _caller(request)
    if identity.kind != "user" or is_robot(identity.name):
        raise WebError(403, _("{name} cannot publish: only people can.", name=identity.name))
    upload = await read_upload(request, _valid(request.path_params["name"]), identity.name)
    app = await _publisher(request).publish(upload)
    return JSONResponse(_described(request, app), 202)


async def rollback(request: Request) -> Response:
    """``POST apps/{name}/rollback`` ``{"release": number or null}``."""
    app = _managed(request)
    body = await _json(request)
    number = body.get("release") if isinstance(body, dict) else None
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise WebError(400, _("The release {given!r} is not a number.", given=number))
    return JSONResponse(_described(request, await _publisher(request).rollback(app.name, number)), 202)


async def change_access(request: Request) -> Response:
    """``PUT apps/{name}/access`` ``"me"``, ``"everyone"`` or ``{"users": […], "groups": […]}``."""
    app = _managed(request)
    changed = await _publisher(request).change_access(app.name, Access.parse(await _json(request)))
    return JSONResponse(_described(request, changed))


async def unpublish(request: Request) -> Response:
    """``DELETE apps/{name}``."""
    await _publisher(request).unpublish(_managed(request).name)
    return Response(status_code=204)


def _caller(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


def _publisher(request: Request) -> Publisher:
    publisher: Publisher = request.app.state.publisher
    return publisher


def _described(request: Request, app: App) -> dict[str, Any]:
    origin = str(request.base_url).rstrip("/")
    return described(app, _caller(request), origin, request.app.state.store)


def _managed(request: Request) -> App:
    app = _publisher(request).existing(request.path_params["name"])
    if not may_manage(app, _caller(request)):
        what = _("App '{name}' belongs to {owner}.", name=app.name, owner=app.owner)
        raise WebError(403, what, _("Only its owner or an admin may change it."))
    return app


def _valid(name: str) -> str:
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        what = _("'{name}' cannot be an app's name.", name=name)
        remedy = _("Use 1 to 27 small letters, digits and hyphens; begin with a letter.")
        raise WebError(400, what, remedy) from None


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        raise WebError(400, _("The request is not JSON.")) from None
