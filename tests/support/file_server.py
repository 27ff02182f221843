"""A web server on this machine, for downloads: files, and every way in which a server lets one down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0]
        kind, _slash, rest = path.lstrip("/").partition("/")
        with suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"send_{kind}", self.send_missing)(rest)

    def send_file(self, name):
        data = self.server.files.get(name)
        if data is None:
            self.send_missing(name)
            return
        self.answer(200, data, **self.server.headers.get(name, {}))

    def send_moved(self, name):
        self.answer(302, b"", Location=f"/file/{name}")

    def send_failing(self, _name):
        self.answer(503, b"no")

    def send_page(self, _name):
        self.answer(200, b"<html>Sign in</html>", **{"Content-Type": "text/html; charset=utf-8"})

    def send_cut(self, name):
        """Say that there is more than is sent."""
        data = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

    def send_endless(self, _name):
        """Never say how much there is, nor end."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.stopped.is_set():
            self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    def send_missing(self, _name):
        self.answer(404, b"not here")

    def answer(self, status, data, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


@contextmanager
def serving(files: dict[str, bytes], headers: dict[str, dict[str, str]] | None = None) -> Iterator[ThreadingHTTPServer]:
    """Serve files at ``/file/<name>``; the server has its ``url``, and in ``asked`` what was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.files, server.headers, server.asked, server.stopped = files, headers or {}, [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
