"""The page that shows the GPUs, who holds them and who waits."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from armillary_hub.pool.views import Books


def gpus_page(request: Request, books: Books) -> Response:
    """Return the page."""
    return HTMLResponse(repr(books.state()))
