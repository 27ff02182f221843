"""Requests for an app whose server does not run: the proxy sends them here, for no other route takes them.

A browser is sent to the page that starts the app and waits; a program with a token gets 503 with ``Retry-After`` while
the app starts.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from armillary_hub.accounts.names import ROBOT_PREFIX
from armillary_hub.settings import Settings
from armillary_hub.web.errors import WebError, wants_page
from armillary_hub.web.identity import HubIdentity

#: Seconds after which a program should try again.
_RETRY_AFTER = "3"

#: What the address of every app begins with.
_PLACE = f"/user/{ROBOT_PREFIX}"

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def proxy_routes(settings: Settings) -> dict[str, Any]:
    """Return Traefik's route for apps that have none of their own: longer rules, those of running apps, win."""
    service = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{settings.port_of('apps')}"}]}}
    router = {"rule": f"PathPrefix(`{_PLACE}`)", "entryPoints": ["http"], "service": "apps-asleep"}
    return {"http": {"routers": {"apps-asleep": router}, "services": {"apps-asleep": service}}}


def routes(identity: HubIdentity) -> list[Route]:
    """Return the routes of sleeping apps."""

    async def answer(request: Request) -> Response:
        try:
            return await _wake(request, identity)
        except WebError as error:
            text = f"{error.what} {error.remedy}".strip()
            return JSONResponse({"error": text}, error.status, error.headers)

    return [
        Route(f"{_PLACE}{{name}}", answer, methods=_METHODS),
        Route(f"{_PLACE}{{name}}/{{rest:path}}", answer, methods=_METHODS),
    ]


async def _wake(request: Request, sign_in: HubIdentity) -> Response:
    name = request.path_params["name"]
    if wants_page(request) and "authorization" not in request.headers:
        return RedirectResponse(f"{sign_in.prefix}open/{name}")
    caller = await sign_in.identify(request)
    if caller is None:
        what = "This app needs a token of the hub."
        raise WebError(401, what, "Send `Authorization: Bearer <token>`.", {"WWW-Authenticate": "Bearer"})
    needed = {f"access:servers!server=app-{name}/", f"access:servers!user=app-{name}"}
    if not sign_in.auth.check_scopes(needed, {"scopes": caller.scopes}):
        raise WebError(403, f"{caller.name} has no access to the app '{name}'.", "Ask its owner for access.")
    state = request.app.state
    app = state.publisher.existing(name)
    if app.state == "failed":
        raise WebError(503, f"The app '{name}' does not start.", f"Tell {app.owner}, who published it.")
    state.watcher.wake(app)
    raise WebError(503, f"The app '{name}' is starting.", "Try again in a moment.", {"Retry-After": _RETRY_AFTER})
