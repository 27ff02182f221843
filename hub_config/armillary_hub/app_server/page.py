"""The app's page: a standalone Voilà on a Unix socket. Run as a child of the app's server, without any token.

Standalone, because only then Voilà keeps visitors from running code of their own and has a pool of warm kernels.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import tornado.ioloop
from armillary_kernels.release import NOTEBOOK
from armillary_kernels.texts import translator
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from traitlets import Integer, Unicode
from traitlets.config import Config
from voila.app import Voila

from armillary_hub.app_server.environment import MOST_VISITORS
from armillary_hub.app_server.page_kernels import PageKernelSpecs
from armillary_hub.app_server.page_visitors import Places, VisitorHandler
from armillary_hub.app_server.processes import die_with_parent

_ = translator(__file__)

#: Kernels that have run the notebook before a visitor comes.
WARM_KERNELS = 2

#: Seconds for which the kernel of a page that is closed or has lost its connection is kept.
KERNEL_GRACE = 180

#: A picture comes in parts, each far smaller (see ``armillary.inference``); in bytes.
LARGEST_MESSAGE = 32 * 2**20

#: A Unix socket's path holds 107 bytes; of a kernel's, the connection folder may take this many.
_LONGEST_CONNECTION_DIR = 55


class PageOnSocket(Voila):
    """Voilà that listens on a Unix socket which only this account may open."""

    unix_socket = Unicode(help="Path of the socket.").tag(config=True)

    most_visitors = Integer(MOST_VISITORS, min=1, help="Visitors who may have a kernel at a time.").tag(config=True)

    def init_handlers(self) -> list[Any]:
        """Return Voilà's handlers, of which the last opens pages: here only for as many visitors as may come."""
        *others, (path, _, options) = super().init_handlers()
        places = Places(self.kernel_manager, self.most_visitors)
        return [*others, (path, VisitorHandler, {**options, "places": places})]

    def listen(self) -> None:
        """Listen, and serve until SIGTERM (replaces the search for a free port)."""
        server = HTTPServer(self.app, max_buffer_size=2 * LARGEST_MESSAGE)
        server.add_socket(bind_unix_socket(self.unix_socket, mode=0o600))
        self.ioloop = tornado.ioloop.IOLoop.current()
        signal.signal(signal.SIGINT, self._handle_signal_stop)
        try:
            self.ioloop.start()
        finally:
            self.stop()


def configuration(
    prefix: str,
    release_dir: Path,
    socket: Path,
    warm_kernels: int = WARM_KERNELS,
    most_visitors: int = MOST_VISITORS,
) -> Config:
    """Return Voilà's configuration for a release."""
    c = Config()
    c.PageOnSocket.most_visitors = most_visitors
    c.PageOnSocket.base_url = prefix
    c.PageOnSocket.unix_socket = str(socket)
    c.PageOnSocket.notebook_path = str(release_dir / NOTEBOOK)
    c.PageOnSocket.root_dir = str(release_dir)
    c.PageOnSocket.open_browser = False
    c.PageOnSocket.connection_dir_root = _connection_dir_root(socket.parent)
    # The app's server in front checks XSRF, by the cookie that never gets here.
    c.PageOnSocket.tornado_settings = {
        "xsrf_cookies": False,
        "disable_check_xsrf": True,
        "websocket_max_message_size": LARGEST_MESSAGE,
    }
    # In both languages: the page is made before anybody knows who will visit it.
    broken = "Tell the person who published this app."
    c.VoilaExecutor.cell_error_instruction = f"{broken} {_(broken, language='zh')}"
    _configure_pages(c.VoilaConfiguration, warm_kernels)
    _configure_kernels(c)
    return c


def _configure_pages(voila: Any, warm_kernels: int) -> None:
    voila.template = "armillary"
    voila.allow_template_override = "NO"
    voila.allow_theme_override = "NO"
    voila.file_allowlist = []
    voila.strip_sources = True
    managers = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"]
    voila.extension_allowlist = [*managers, "anywidget"]
    voila.preheat_kernel = warm_kernels > 0
    voila.default_pool_size = warm_kernels


def _configure_kernels(c: Config) -> None:
    c.VoilaConfiguration.kernel_spec_manager_class = PageKernelSpecs
    # Other accounts on this machine could read a TCP port.
    c.KernelManager.transport = "ipc"
    c.MappingKernelManager.cull_idle_timeout = KERNEL_GRACE
    c.MappingKernelManager.cull_interval = 30
    c.MappingKernelManager.cull_connected = False


def _connection_dir_root(runtime_dir: Path) -> str:
    """Return a folder whose kernels' socket paths are short enough; Voilà adds ``voila_xxxxxxxx`` to it."""
    fits = len(str(runtime_dir)) + len("/voila_xxxxxxxx") <= _LONGEST_CONNECTION_DIR
    return str(runtime_dir) if fits else tempfile.gettempdir()


def main() -> None:
    """Serve the page: ``python -m armillary_hub.app_server.page PARENT_PID PREFIX RELEASE_DIR SOCKET VISITORS``."""
    parent, prefix, release_dir, socket, visitors = sys.argv[1:]
    die_with_parent(int(parent))
    Path(socket).unlink(missing_ok=True)
    os.chdir(Path.home())
    c = configuration(prefix, Path(release_dir), Path(socket), most_visitors=int(visitors))
    page = PageOnSocket(config=c)
    page.initialize([])
    page.start()


if __name__ == "__main__":
    main()
