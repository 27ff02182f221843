"""A Jupyter Server extension that keeps a server with a busy kernel from looking idle.

Jupyter counts messages as activity, and a long cell that prints nothing sends none (jupyterhub#1498). Here the kernels'
execution state is asked instead. Loaded by ``c.ServerApp.jpserver_extensions = {"armillary_kernels.activity": True}``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from tornado.ioloop import PeriodicCallback

#: Seconds between two looks: less than any time after which a server is culled, and as often as the hub is told.
INTERVAL = min(30.0, float(os.environ.get("JUPYTERHUB_ACTIVITY_INTERVAL") or 30.0))

#: The name under which the server keeps this kind of activity.
SOURCE = "armillary_busy_kernels"


def is_busy(server: Any) -> bool:
    """Return whether any kernel of a server runs a cell."""
    kernels = server.kernel_manager
    states = (getattr(kernels.get_kernel(id_), "execution_state", None) for id_ in kernels.list_kernel_ids())
    return any(state == "busy" for state in states)


def note_activity(server: Any) -> None:
    """Count a busy kernel as activity now."""
    if is_busy(server):
        server.web_app.settings["last_activity_times"][SOURCE] = datetime.now(UTC)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    look = PeriodicCallback(lambda: note_activity(server), INTERVAL * 1000)
    server.web_app.settings[f"{SOURCE}_callback"] = look
    look.start()
