"""The kernel behind one visitor's page: a plain IPython kernel that ends with the page's server."""

from __future__ import annotations

import os

from armillary_hub.app_server.processes import die_with_parent


def main() -> None:
    """Run the kernel; Jupyter tells it who started it."""
    die_with_parent(int(os.environ["JPY_PARENT_PID"]))
    # Only now: the import takes long enough for the parent to end meanwhile.
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance()


if __name__ == "__main__":
    main()
