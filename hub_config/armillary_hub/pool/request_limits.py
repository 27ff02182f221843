"""What no request to the pool may be, whatever it asks for: very large, or at an address with control characters."""

from __future__ import annotations

from http import HTTPStatus

from armillary_kernels.plain_texts import is_plain
from armillary_kernels.texts import translator
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from armillary_hub.web.errors import WebError, error_response

_ = translator(__file__)

#: KiB of a request. The largest that the pool needs name a user's groups.
LARGEST = 64


class RequestLimits:
    """ASGI middleware: refuses such requests, before the whole of a large one is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if not is_plain(scope["path"]):
            what = _("The address holds a control character, such as a line break.")
            response = error_response(connection, HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Leave it out."))
            await response(scope, receive, send)
            return
        size = int(connection.headers.get("content-length", "0"))  # the server has read this number before us
        received = 0

        async def measured() -> Message:
            nonlocal received
            _check(size)
            message = await receive()
            received += len(message.get("body", b""))
            _check(received)
            return message

        await self._app(scope, measured, send)


def _check(size: int) -> None:
    if size > LARGEST * 1024:
        what = _("The request is larger than {most} KiB.", most=LARGEST)
        raise WebError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, _("Shorten what it says."))
