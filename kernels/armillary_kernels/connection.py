"""How a process that the hub started finds the hub and its services.

The spawner puts these into the environment of every server; kernels, Dask workers and jobs inherit them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field


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
        """Return the connection that the spawner described, or None outside a hub."""
        env = os.environ
        if "ARMILLARY_PUBLIC_URL" not in env or "JUPYTERHUB_API_TOKEN" not in env:
            return None
        return cls(
            user=env["JUPYTERHUB_USER"],
            public_url=env["ARMILLARY_PUBLIC_URL"],
            hub_api_url=env["JUPYTERHUB_API_URL"],
            pool_url=env["ARMILLARY_POOL_URL"],
            gateway_url=env["ARMILLARY_GATEWAY_URL"],
            apps_url=env["ARMILLARY_APPS_URL"],
            tracking_url=env["MLFLOW_TRACKING_URI"],
            token=env["JUPYTERHUB_API_TOKEN"],
        )

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP header that signs a request to the hub or one of its services."""
        return {"Authorization": f"Bearer {self.token}"}
