"""The table of the deployment's own programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from armillary_hub.settings import Settings

#: Programs that carry people's connections: `armillary restart` leaves them alone unless it is asked for one.
PROXIES = ("proxy", "gateway-proxy")


@dataclass(frozen=True)
class Program:
    """One process that supervisord keeps alive.

    Attributes
    ----------
    name
        As in `armillary status`, the log's name, and `armillary restart NAME`.
    title
        What it is, for people.
    command
        The command line.
    port
        The name of the port in `armillary_hub.settings.PORT_OFFSETS` that it listens on; empty for none.
    health
        A URL that answers with success when it is ready; empty to go by the port alone.
    environment
        Variables of its own.
    """

    name: str
    title: str
    command: tuple[str, ...]
    port: str = ""
    health: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def programs(settings: Settings) -> list[Program]:
    """Return the programs of a deployment, in the order in which they start."""
    return [*_proxies(settings), _hub(settings), *_services(settings), _culler(settings)]


def _python(settings: Settings, module: str, *arguments: str) -> tuple[str, ...]:
    return (str(settings.environment_dir / "bin" / "python"), "-m", module, *arguments)


def _proxies(settings: Settings) -> list[Program]:
    traefik = str(settings.environment_dir / "bin" / "traefik")
    gateway_config = str(settings.gateway_config_file)
    return [
        Program("proxy", "Proxy", (traefik, "--configfile", str(settings.proxy_dir / "traefik.toml")), "public"),
        Program(
            "gateway-proxy",
            "Dask Gateway's proxy",
            _python(settings, "dask_gateway_server", "proxy", "--config", gateway_config),
            "gateway-web",
        ),
    ]


def _hub(settings: Settings) -> Program:
    command = _python(settings, "jupyterhub", "--config", str(settings.config_file))
    # Through the proxy: the hub is ready when a browser reaches it.
    return Program("hub", "JupyterHub", command, "hub", f"{settings.public_url}/hub/health")


def _services(settings: Settings) -> list[Program]:
    python = partial(_python, settings)
    gateway = python("dask_gateway_server", "--config", str(settings.gateway_config_file))
    return [
        Program("gpu-pool", "GPU pool", python("armillary_hub.pool.service"), "gpu-pool"),
        Program("gateway", "Dask Gateway", gateway, "gateway-server"),
        Program("gateway-front", "Dask clusters", python("armillary_hub.clusters.front"), "dask-gateway"),
        Program("apps", "Apps", python("armillary_hub.apps.service"), "apps"),
        Program("mlflow", "MLflow", python("armillary_hub.tracking.service"), "mlflow"),
    ]


def _culler(settings: Settings) -> Program:
    command = (str(settings.environment_dir / "bin" / "jupyterhub-idle-culler"), "--config", str(settings.config_file))
    environment = {"JUPYTERHUB_API_TOKEN": settings.secret("culler"), "JUPYTERHUB_API_URL": settings.hub_api_url}
    return Program("culler", "Idle culler", command, environment=environment)
