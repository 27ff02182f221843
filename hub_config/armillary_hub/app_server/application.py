"""The app's address: ``/v2`` for programs, all else its page; both only for those with access."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import jupyterhub
from armillary_kernels.release import Release
from armillary_kernels.texts import language_of, translator
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from armillary_hub.app_server.activity import Activity
from armillary_hub.app_server.endpoint import Endpoint, answer_error
from armillary_hub.app_server.page_process import PageProcess
from armillary_hub.web.errors import EXCEPTION_HANDLERS, WebError, error_response
from armillary_hub.web.reverse_proxy import ReverseProxy
from armillary_hub.web.sign_in import Refusal, SignIn

_ = translator(__file__)

#: Seconds that a visitor waits for a page that is just starting.
_PATIENCE = 45.0

_HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    # The hub warns about servers that do not tell.
    "x-jupyterhub-version": jupyterhub.__version__,
}


def application(
    release: Release, endpoint: Endpoint, page: PageProcess, proxy: ReverseProxy, sign_in: SignIn, activity: Activity
) -> Starlette:
    """Return the ASGI application that the hub's proxy sends an app's visitors to."""
    sign_in.refusal = refusal(release, sign_in.prefix)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        page.start()
        yield
        endpoint.batcher.close()
        await proxy.close()
        await page.stop()

    starlette = Starlette(
        routes=[
            *sign_in.routes(),
            *endpoint.routes(sign_in.prefix),
            Route(f"{sign_in.prefix}v2/{{rest:path}}", _no_such),
        ],
        middleware=[Middleware(SafeHeaders), sign_in.middleware()],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    starlette.router.default = _Page(release, page, proxy, activity)
    starlette.router.redirect_slashes = False
    return starlette


def refusal(release: Release, prefix: str) -> Refusal:
    """Return what answers those who may not enter: the protocol's errors, or a page that says whom to ask."""

    def refuse(connection: HTTPConnection, error: WebError) -> Response:
        if f"{connection.scope['path']}/".startswith(f"{prefix}v2/"):
            return answer_error(error)
        if error.status != 403:
            return error_response(connection, error.status, error.what, error.remedy, error.headers)
        language = language_of(connection.headers.get("accept-language"))
        what = _("You have no access to the app “{title}”.", language=language, title=release.title)
        remedy = _("Ask {owner}, who published it.", language=language, owner=release.owner)
        return error_response(connection, 403, what, remedy)

    return refuse


async def _no_such(request: HTTPConnection) -> Response:
    return answer_error(WebError(404, f"There is nothing at {request.url.path}."))


class _Page:
    """Passes visitors on to the page, once it runs."""

    def __init__(self, release: Release, page: PageProcess, proxy: ReverseProxy, activity: Activity) -> None:
        self._release = release
        self._page = page
        self._proxy = proxy
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self._page.wait_ready(_PATIENCE):
            await self._refuse(scope, receive, send)
            return
        self._activity.used()
        if scope["type"] != "websocket":
            await self._proxy(scope, receive, send)
            return
        self._activity.visitors += 1
        try:
            await self._proxy(scope, receive, send)
        finally:
            self._activity.visitors -= 1

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
            return
        connection = HTTPConnection(scope)
        language = language_of(connection.headers.get("accept-language"))
        what = _("The page of “{title}” does not start.", language=language, title=self._release.title)
        remedy = _("Tell {owner}, who published it.", language=language, owner=self._release.owner)
        await error_response(connection, 503, what, remedy, {"Retry-After": "10"})(scope, receive, send)


class SafeHeaders:
    """Adds the headers that keep a page out of other pages' frames."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)
