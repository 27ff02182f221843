"""How a process that the hub started finds the hub and its services.

The spawner puts these into the environment of every server; kernels, Dask workers and jobs inherit them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.texts import translator

_ = translator(__file__)

#: Where the spawner puts each part of a connection.
_VARIABLES = {
    "user": "JUPYTERHUB_USER",
    "public_url": "ARMILLARY_PUBLIC_URL",
    "hub_api_url": "JUPYTERHUB_API_URL",
    "pool_url": "ARMILLARY_POOL_URL",
    "gateway_url": "ARMILLARY_GATEWAY_URL",
    "apps_url": "ARMILLARY_APPS_URL",
    "tracking_url": "MLFLOW_TRACKING_URI",
    "token": "JUPYTERHUB_API_TOKEN",
}

#: What an HTTP header can carry; the hub's own tokens are hexadecimal.
_TOKEN = re.compile("[!-~]+")


@dataclass(frozen=True)
class Connection:
    """The hub as seen from a user's process.

    Attributes
    ----------
    user
        The hub user this process works for.
    public_url
        Address of the deployment as a browser on this machine types it, without a trailing slash.
    hub_api_url
        Base address of JupyterHub's REST API.
    pool_url, gateway_url, apps_url, tracking_url
        Base addresses of the GPU pool, Dask Gateway, the apps service and MLflow, without a trailing slash.
    token
        The user's own API token, with the scopes of a notebook server.
    """

    user: str
    public_url: str
    hub_api_url: str
    pool_url: str
    gateway_url: str
    apps_url: str
    tracking_url: str
    token: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Connection | None:
        """Return the connection that the spawner described, or None outside a hub.

        Raises
        ------
        ArmillaryError
            If a part of it is missing, or the token is none.
        """
        told = {part: os.environ.get(variable) for part, variable in _VARIABLES.items()}
        if told["public_url"] is None or told["token"] is None:
            return None
        parts = {part: value for part, value in told.items() if value is not None}
        if missing := [variable for part, variable in _VARIABLES.items() if part not in parts]:
            what = _("The hub started this process, but the environment lacks {names}.", names=", ".join(missing))
            raise ArmillaryError(what, _again())
        if not _TOKEN.fullmatch(parts["token"]):
            raise ArmillaryError(_("{name} holds no token of the hub.", name=_VARIABLES["token"]), _again())
        return cls(**parts)

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP header that signs a request to the hub or one of its services."""
        return {"Authorization": f"Bearer {self.token}"}


def _again() -> str:
    return _("Open a new terminal or restart the kernel. If that does not help, stop your server and start it again.")
