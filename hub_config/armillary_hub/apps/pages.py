"""The Apps page, and the address that opens an app however it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armillary_kernels.texts import language_of
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from armillary_hub.apps.catalogue import described, may_open
from armillary_hub.web.pages import render

_FOLDER = Path(__file__).parent

_HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'"}


def routes(prefix: str) -> list[Route]:
    """Return the pages below ``prefix``, which ends in a slash."""
    return [
        Route(prefix, apps_page),
        Route(prefix.rstrip("/"), lambda request: RedirectResponse(prefix)),
        Route(f"{prefix}open/{{name}}", open_app),
    ]


def _page(request: Request, template: str, **values: Any) -> HTMLResponse:
    language = language_of(request.headers.get("accept-language"))
    html = render(template, identity=request.state.identity, language=language, folder=_FOLDER, active="apps", **values)
    return HTMLResponse(html, headers=_HEADERS)


async def apps_page(request: Request) -> Response:
    """Show the cards of the apps that the person may open."""
    identity, state = request.state.identity, request.app.state
    origin = str(request.base_url).rstrip("/")
    apps = [described(app, identity, origin, state.store) for app in state.database.all() if may_open(app, identity)]
    return _page(request, "apps.html", apps=apps, xsrf=identity.xsrf)


async def open_app(request: Request) -> Response:
    """Send the person on to the app; one that does not run is started first."""
    state = request.app.state
    app = state.publisher.existing(request.path_params["name"])
    if not may_open(app, request.state.identity):
        page = _page(request, "opening.html", name=app.name, title=app.title, owner=app.owner, state="refused")
        page.status_code = 403
        return page
    if await state.watcher.answers(app):
        return RedirectResponse(f"/user/{app.robot}/")
    if app.state == "ready":
        state.watcher.wake(app)
    return _page(request, "opening.html", title=app.title, state=app.state, owner=app.owner)
