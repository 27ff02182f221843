"""Runs in every scheduler: its dashboard answers on the Unix socket that the gateway bound, and on no port.

On a TCP port any account of the machine could read it, for Dask's dashboard asks nobody for a password. It runs before
Dask Gateway's own preload, which then finds what idle means here.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from armillary_hub.clusters.scheduler_idle import teach_waiting

#: Names the file descriptor of the listening socket that the gateway hands over.
DESCRIPTOR = "ARMILLARY_DASHBOARD_FD"


def dask_setup(scheduler: Any) -> None:
    """Move the scheduler's HTTP server to the inherited socket, and let the cluster wait for its workers."""
    teach_waiting()
    scheduler.http_server.stop()
    # Without this entry the scheduler announces no dashboard to the gateway, which would give it an open route.
    scheduler.services.pop("dashboard", None)
    listener = socket.socket(fileno=int(os.environ.pop(DESCRIPTOR)))
    listener.setblocking(False)
    scheduler.http_server.add_sockets([listener])
