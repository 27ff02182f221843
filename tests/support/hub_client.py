"""Being a person's notebook in a test: the environment that the hub gives to a server."""

from __future__ import annotations

import pytest
from armillary_hub.roles import web_service_scopes

from support.deployment import Deployment


def notebook_environment(deployment: Deployment, user: str) -> dict[str, str]:
    """Return what the spawner would put into the environment of a person's server, with a token of its own."""
    token = deployment.token(user, [*web_service_scopes(), "read:users:name!user", "read:users:groups!user"])
    settings = deployment.settings
    return {
        "JUPYTERHUB_USER": user,
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_API_URL": settings.hub_api_url,
        "ARMILLARY_PUBLIC_URL": settings.public_url,
        "ARMILLARY_POOL_URL": settings.direct_url("gpu-pool"),
        "ARMILLARY_GATEWAY_URL": settings.service_url("dask-gateway"),
        "ARMILLARY_APPS_URL": settings.service_url("apps"),
        "MLFLOW_TRACKING_URI": settings.service_url("mlflow"),
        "MLFLOW_TRACKING_TOKEN": token,
    }


def become(monkeypatch: pytest.MonkeyPatch, deployment: Deployment, user: str) -> dict[str, str]:
    """Let this process be a person's notebook."""
    environment = notebook_environment(deployment, user)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return {"Authorization": f"Bearer {environment['JUPYTERHUB_API_TOKEN']}"}
