"""A real uvicorn server for an ASGI application, on a free port or a Unix socket, for the length of a `with`."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import uvicorn
from armillary_hub.web.server import uvicorn_options


@contextlib.contextmanager
def running(app, unix_socket: Path | None = None):
    """Serve ``app``; yields its port (or 0 for a Unix socket)."""
    if unix_socket is None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix_socket))
    listener.listen(64)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="auto", **uvicorn_options()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server died while it started"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1] if unix_socket is None else 0
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
