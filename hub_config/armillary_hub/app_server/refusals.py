"""Why the endpoint refuses a request: each answers ``{"error": "…"}`` with its status, as the protocol says."""

from __future__ import annotations

from armillary_hub.web.errors import WebError


class BadRequestError(WebError):
    """The request itself is wrong."""

    def __init__(self, what: str) -> None:
        super().__init__(400, what)


class NotFoundError(WebError):
    """There is no such model or version here."""

    def __init__(self, what: str) -> None:
        super().__init__(404, what)


class TooLargeError(WebError):
    """The body is larger than the endpoint takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The request is larger than {limit // 2**20} MiB.", "Send fewer examples at once.")


class BusyError(WebError):
    """More requests wait than the endpoint takes on."""

    def __init__(self) -> None:
        super().__init__(503, "Too many requests are waiting.", "Try again in a moment.", {"Retry-After": "1"})
