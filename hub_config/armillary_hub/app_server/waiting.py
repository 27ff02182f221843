"""What an app answers while it waits for its GPU: at which place it stands, or why it gets none."""

from __future__ import annotations

from armillary_kernels.lease_words import estimate_words
from armillary_kernels.leases import LeaseError
from armillary_kernels.release import Release
from armillary_kernels.texts import language_of, translator
from armillary_kernels.waiting import NoGpuFreeError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from armillary_hub.app_server.application import SafeHeaders, refusal
from armillary_hub.app_server.endpoint import answer_error
from armillary_hub.app_server.gpu import GpuWait
from armillary_hub.web.errors import EXCEPTION_HANDLERS, WebError, error_response
from armillary_hub.web.sign_in import SignIn

_ = translator(__file__)

#: Seconds after which a visitor's page looks again.
_AGAIN = "3"


class Door:
    """Passes requests on to what is behind it, which changes when the app has got its GPU."""

    def __init__(self) -> None:
        self._behind: ASGIApp | None = None

    def open_to(self, app: ASGIApp) -> None:
        """Let visitors in to an application from now on."""
        self._behind = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if self._behind is None:
            raise RuntimeError("nothing is behind the door yet")
        await self._behind(scope, receive, send)


def waiting_application(release: Release, wait: GpuWait, sign_in: SignIn) -> Starlette:
    """Return what stands for the app while it waits, for those with access to the app."""
    sign_in.refusal = refusal(release, sign_in.prefix)
    starlette = Starlette(
        routes=sign_in.routes(),
        middleware=[Middleware(SafeHeaders), sign_in.middleware()],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    starlette.router.default = _Waiting(release, wait, f"{sign_in.prefix}v2/")
    starlette.router.redirect_slashes = False
    return starlette


class _Waiting:
    def __init__(self, release: Release, wait: GpuWait, programs: str) -> None:
        self._release = release
        self._wait = wait
        self._programs = programs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._wait.visited()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
            return
        await self._answer(HTTPConnection(scope))(scope, receive, send)

    def _answer(self, connection: HTTPConnection) -> Response:
        language = language_of(connection.headers.get("accept-language"))
        error = self._error(language)
        if f"{connection.scope['path']}/".startswith(self._programs):
            return answer_error(error)
        return error_response(connection, error.status, error.what, error.remedy, error.headers)

    def _error(self, language: str) -> WebError:
        title = self._release.title
        if self._wait.error is not None:
            what = _("“{title}” gets no GPU.", language=language, title=title)
            return WebError(503, what, self._reason(self._wait.error, language), {"Retry-After": "60"})
        what = _("“{title}” waits for a GPU.", language=language, title=title)
        remedy = ""
        if (place := self._wait.place) is not None:
            when = estimate_words(place.estimate, language)
            remedy = _(
                "Place {n} in the queue; its turn comes: {when}. This page opens by itself.",
                language=language,
                n=place.position,
                when=when,
            )
        return WebError(503, what, remedy, {"Retry-After": _AGAIN, "Refresh": _AGAIN})

    def _reason(self, error: LeaseError, language: str) -> str:
        if isinstance(error, NoGpuFreeError):
            minutes = self._wait.seconds / 60
            return _("None became free within {minutes:.0f} min. Try again later.", language=language, minutes=minutes)
        return _("{reason} Try again in a few minutes.", language=language, reason=error.what)
