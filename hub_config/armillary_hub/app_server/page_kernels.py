"""The one kernelspec that an app's page knows.

It takes no lease and no GPU, whatever kernelspec the notebook names: the model answers from the app's server.
"""

from __future__ import annotations

import sys
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

NAME = "python3"

_SPEC = {
    "argv": [sys.executable, "-m", "armillary_hub.app_server.kernel", "-f", "{connection_file}"],
    "display_name": "Python 3",
    "language": "python",
}


class PageKernelSpecs(KernelSpecManager):
    """Knows this one kernel and no other."""

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the kernel's name; it has no folder of resources."""
        return {NAME: ""}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the specification of the kernel."""
        if kernel_name != NAME:
            raise NoSuchKernel(kernel_name)
        return KernelSpec(name=NAME, **_SPEC)

    def get_all_specs(self) -> dict[str, Any]:
        """Return the kernel as Jupyter's servers list it."""
        return {NAME: {"resource_dir": "", "spec": dict(_SPEC)}}
