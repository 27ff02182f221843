"""What the deployment's processes, and through the hub people's servers, get to see of the environment.

An allow-list: nothing that the account which ran `armillary up` happened to have set leaks to others.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Locale, time zone, certificates and proxies of the network, and the GPU driver's own settings.
PASSED_ON = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)

#: Marks every process of a deployment with its home, so that `armillary down` finds them all.
DEPLOYMENT = "ARMILLARY_DEPLOYMENT"

#: Marks the deployment's own programs; people's processes do not have it.
PROGRAM = "ARMILLARY_PROGRAM"


def search_path(environment_dir: Path) -> str:
    """Return the ``PATH`` of a process: the environment first, then the system's folders."""
    return f"{environment_dir / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def minimal_environment(environment_dir: Path) -> dict[str, str]:
    """Return the allowed part of this process's environment, with a ``PATH`` of our own."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"LANG": "C.UTF-8", **kept, "PATH": search_path(environment_dir)}
