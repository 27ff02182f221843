"""How a web service says that something went wrong: JSON for programs, a page for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.texts import language_of, translator
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from armillary_hub.web.pages import render_error

_ = translator(__file__)


class WebError(ArmillaryError):
    """An error with the HTTP status that it answers with.

    Parameters
    ----------
    status
        The HTTP status code.
    what, remedy
        As in `ArmillaryError`.
    headers
        Response headers, such as ``Retry-After``.
    """

    def __init__(self, status: int, what: str, remedy: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what, remedy)
        self.status = status
        self.headers = dict(headers or {})


def wants_page(connection: HTTPConnection) -> bool:
    """Return whether a person's browser asks for a page (and not a script or a program for data)."""
    return connection.scope.get("method") in ("GET", "HEAD") and "text/html" in connection.headers.get("accept", "")


def error_response(
    connection: HTTPConnection, status: int, what: str, remedy: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """Answer ``{"error": {"what": …, "remedy": …}}``, or a page in the house look to a browser."""
    if wants_page(connection):
        return HTMLResponse(error_page(connection, status, what, remedy), status, dict(headers or {}))
    return JSONResponse({"error": {"what": what, "remedy": remedy}}, status, dict(headers or {}))


def error_page(connection: HTTPConnection, status: int, what: str, remedy: str) -> str:
    """Return the page that shows an error to a person."""
    language = language_of(connection.headers.get("accept-language"))
    identity = connection.scope.get("state", {}).get("identity")
    return render_error(status, what, remedy, identity=identity, language=language)


async def _answer_armillary_error(request: Request, error: Exception) -> Response:
    what, remedy = getattr(error, "what", str(error)), getattr(error, "remedy", "")
    return error_response(request, getattr(error, "status", 400), what, remedy, getattr(error, "headers", None))


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    in_theirs = partial(_, language=language_of(request.headers.get("accept-language")))
    said = {
        404: (
            in_theirs("There is nothing at {path}.", path=request.url.path),
            in_theirs("Check the address; what was there may be gone."),
        ),
        405: (
            in_theirs("{method} is not possible here.", method=request.method),
            in_theirs("Use one of: {methods}.", methods=(error.headers or {}).get("Allow", "GET")),
        ),
    }
    what, remedy = said.get(error.status_code, (error.detail, ""))
    return error_response(request, error.status_code, what, remedy, error.headers)


#: For ``Starlette(exception_handlers=...)``.
EXCEPTION_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    ArmillaryError: _answer_armillary_error,
    HTTPException: _answer_http_exception,
}
