"""Serving an ASGI application on loopback, behind the deployment's proxy."""

from __future__ import annotations

import logging
from typing import Any

import uvicorn
from starlette.types import ASGIApp

#: The largest WebSocket message passed on, in bytes.
LARGEST_MESSAGE = 128 * 2**20

#: Seconds that requests under way get to end when the service is stopped.
GRACE = 5

_LOG_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def configure_logging(level: int = logging.INFO) -> None:
    """Log one line an event to stderr, which supervisord keeps in the deployment's log folder."""
    logging.basicConfig(format=_LOG_FORMAT, level=level, force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "websockets", "tornado.application"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def uvicorn_options() -> dict[str, Any]:
    """Return the options that every server of the deployment shares."""
    return {
        "proxy_headers": True,
        "forwarded_allow_ips": "127.0.0.1",
        "server_header": False,
        "log_config": None,
        "access_log": False,
        "ws_max_size": LARGEST_MESSAGE,
        "timeout_graceful_shutdown": GRACE,
        "timeout_keep_alive": 75,
    }


def serve(app: ASGIApp, *, port: int) -> None:
    """Serve ``app`` on loopback until SIGTERM or SIGINT; requests under way may end first."""
    configure_logging()
    uvicorn.run(app, host="127.0.0.1", port=port, **uvicorn_options())
