"""The configuration of a person's Jupyter server; it runs as the person when the server starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary_hub.person.guides import refresh_guides

if TYPE_CHECKING:

    def get_config() -> Any:
        """Traitlets puts this function there when it reads the file."""


c = get_config()

# Over TCP, any account of the machine could connect to a kernel.
c.KernelManager.transport = "ipc"
c.MultiKernelManager.default_kernel_name = "python-torch"
c.ServerApp.kernel_spec_manager_class = "armillary_kernels.kernelspecs.PoolKernelSpecManager"
c.ServerApp.jpserver_extensions = {"armillary_kernels.activity": True}
# The trash of a home without a desktop is a folder that nobody empties.
c.FileContentsManager.delete_to_trash = False
# Nothing here asks the network for news, or people whether it may.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
# Looking for language servers runs npm at each start; there are none.
c.LanguageServerManager.autodetect = False

refresh_guides(Path.home() / "guides")
