"""The configuration of Dask Gateway, which the deployment's ``dask_gateway_config.py`` loads first."""

from __future__ import annotations

import base64
from typing import Any

from armillary_kernels.shared_datasets import VARIABLE as SHARED_DATASETS

from armillary_hub.settings import Settings
from armillary_hub.supervision.environment import DEPLOYMENT, minimal_environment

#: Backend of each mode of a deployment.
BACKENDS = {
    "solo": "armillary_hub.clusters.backends.SoloBackend",
    "team": "armillary_hub.clusters.backends.TeamBackend",
}

#: Seconds without a task after which a cluster stops.
IDLE_TIMEOUT = 30 * 60

#: Seconds of silence after which a scheduler counts as lost; generous, for a machine under full load may stall it.
HEARTBEAT_TIMEOUT = 120


def configure(c: Any, settings: Settings | None = None) -> None:
    """Set Dask Gateway up for the deployment.

    Parameters
    ----------
    c
        The traitlets configuration (``get_config()``).
    settings
        The deployment; default: the one that ``ARMILLARY_HOME`` names.
    """
    settings = settings or Settings.load()
    _configure_server(c, settings)
    _configure_state(c, settings)
    _configure_clusters(c, settings)


def _configure_server(c: Any, settings: Settings) -> None:
    server = f"127.0.0.1:{settings.port_of('gateway-server')}"
    c.DaskGateway.address = server
    c.DaskGateway.backend_class = BACKENDS[settings.mode]
    c.DaskGateway.authenticator_class = "armillary_hub.clusters.authenticator.HubTokenAuthenticator"
    c.HubTokenAuthenticator.jupyterhub_api_url = settings.hub_api_url
    c.HubTokenAuthenticator.jupyterhub_api_token = settings.secret("dask-gateway")
    c.HubTokenAuthenticator.jupyterhub_service_name = "dask-gateway"
    # The proxy is a program of its own, so that clusters stay reachable while the gateway restarts.
    c.Proxy.externally_managed = True
    c.Proxy.api_token = settings.secret("gateway-proxy")
    c.Proxy.address = f"127.0.0.1:{settings.port_of('gateway-web')}"
    c.Proxy.tcp_address = f"127.0.0.1:{settings.port_of('gateway-scheduler')}"
    c.Backend.api_url = f"http://{server}/api"


def _configure_state(c: Any, settings: Settings) -> None:
    key = base64.urlsafe_b64encode(bytes.fromhex(settings.secret("gateway-encryption")))
    c.DBBackendBase.db_url = settings.database_url("gateway")
    c.DBBackendBase.db_encrypt_keys = [key.decode()]
    c.DBBackendBase.stop_clusters_on_shutdown = False
    c.DBBackendBase.cluster_status_period = 2
    c.DBBackendBase.worker_status_period = 2
    c.DBBackendBase.cluster_heartbeat_timeout = HEARTBEAT_TIMEOUT
    c.PersonalBackend.front_token = settings.secret("gateway-front")


def _configure_clusters(c: Any, settings: Settings) -> None:
    dask = str(settings.environment_dir / "bin" / "dask")
    room = "armillary_hub.clusters"
    c.ClusterConfig.scheduler_cmd = [dask, "scheduler", "--preload", f"{room}.scheduler_preload"]
    # No nanny: it would make the worker daemonic, and the gateway replaces a dead worker itself.
    c.ClusterConfig.worker_cmd = [
        *(dask, "worker", "--no-nanny", "--no-dashboard"),
        *("--preload", f"{room}.worker_preload", "--local-directory", "."),
    ]
    c.ClusterConfig.idle_timeout = IDLE_TIMEOUT
    c.LocalBackend.clusters_directory = str(settings.run_dir / ".clusters")
    c.PersonalBackend.gpu_pool_url = settings.direct_url("gpu-pool")
    c.PersonalBackend.hub_api_url = settings.hub_api_url
    c.PersonalBackend.hub_token = settings.secret("dask-gateway")
    c.PersonalBackend.users_directory = str(settings.users_dir)
    c.PersonalBackend.shared_environment = shared_environment(settings)


def shared_environment(settings: Settings) -> dict[str, str]:
    """Return what the environment of every scheduler and worker holds, whoever it works for."""
    return {
        **minimal_environment(settings.environment_dir),
        DEPLOYMENT: str(settings.home),
        "ARMILLARY_PUBLIC_URL": settings.public_url,
        "ARMILLARY_POOL_URL": settings.direct_url("gpu-pool"),
        "ARMILLARY_GATEWAY_URL": settings.service_url("dask-gateway"),
        "ARMILLARY_APPS_URL": settings.service_url("apps"),
        SHARED_DATASETS: str(settings.shared_dir),
        "JUPYTERHUB_API_URL": settings.hub_api_url,
        "MLFLOW_TRACKING_URI": settings.service_url("mlflow"),
    }
