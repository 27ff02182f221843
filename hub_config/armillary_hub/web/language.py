"""The language of a service's answers: the one that each request asks for."""

from __future__ import annotations

from armillary_kernels.texts import answering_in, language_of
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send


class AnswerInTheirLanguage:
    """ASGI middleware: what a request leads to, errors and what begins in the background, is in its language."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        with answering_in(language_of(Headers(scope=scope).get("accept-language"))):
            await self._app(scope, receive, send)
