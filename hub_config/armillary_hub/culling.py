"""Which idle servers may be stopped.

A server's last activity counts a kernel at work, even a silent one: `armillary_kernels.activity` keeps it fresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from armillary_hub.accounts.names import ROBOT_PREFIX


def may_cull(*, inactive: timedelta, inactive_limit: float, server: Mapping[str, Any]) -> bool:
    """Return whether a server may be stopped: never an app's, for visits do not count as activity of its owner.

    Parameters
    ----------
    inactive
        Time since the server's last activity.
    inactive_limit
        Seconds after which a server counts as idle (``c.IdleCuller.timeout``).
    server
        JupyterHub's model of the server.
    """
    user_prefix = str(server.get("url") or "")
    return f"/user/{ROBOT_PREFIX}" not in user_prefix and inactive.total_seconds() >= inactive_limit
