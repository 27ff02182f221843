"""A cable between a browser and a server, which can be cut: `Cable`."""

from __future__ import annotations

import contextlib
import socket
import threading


class Cable:
    """Relays TCP connections to a port of this machine. A context manager.

    Parameters
    ----------
    port
        Of the server.

    Attributes
    ----------
    port
        Where the browser connects to.
    carried
        How many bytes have gone to the server.
    """

    def __init__(self, port):
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.carried = 0
        self._last = None
        self._ends = set()
        self._whole = threading.Event()
        self._whole.set()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.cut()

    def cut_after(self, size):
        """Cut it by itself once so many more bytes have gone to the server."""
        self._last = self.carried + size

    @property
    def is_cut(self):
        return not self._whole.is_set()

    def cut(self):
        """Break every connection; new ones are refused until it is mended."""
        self._last = None
        self._whole.clear()
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self):
        self._last = None
        self._whole.set()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole.is_set():
                near.close()
                continue
            far = socket.create_connection(self._server)
            self._ends |= {near, far}
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source, sink, towards_server):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                sink.sendall(data)
                if towards_server:
                    self.carried += len(data)
                    if self._last is not None and self.carried >= self._last:
                        self.cut()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._ends.discard(end)
