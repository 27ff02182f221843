"""JupyterHub's configuration: ``jupyterhub_config.py`` calls `configure`, and the admin's lines after it win.

The idle culler and the GPU pool read it, too. Classes are named, not imported, so that they need not load the hub.
"""

from __future__ import annotations

import sys
from typing import Any

from armillary_hub import culling
from armillary_hub.accounts.configuration import apply_account_rules
from armillary_hub.apps import asleep
from armillary_hub.roles import declare_roles, declare_services, server_scopes
from armillary_hub.settings import Settings, bracketed

#: Idle time after which a person's server is stopped, in seconds.
IDLE_SERVER_TIMEOUT = 4 * 3600


def configure(c: Any, settings: Settings | None = None) -> None:
    """Fill in the configuration of a deployment's hub and of its idle culler.

    Parameters
    ----------
    c
        The traitlets configuration object that ``get_config()`` returns.
    settings
        The deployment; default: the one that ``ARMILLARY_HOME`` names.
    """
    settings = settings or Settings.load()
    _configure_addresses(c, settings)
    _configure_proxy(c, settings)
    _configure_state(c, settings)
    apply_account_rules(c)
    _configure_spawner(c, settings)
    _configure_culler(c)
    declare_services(c, settings)
    declare_roles(c)
    if "jupyterhub.app" in sys.modules:
        _mend_hub()


def _mend_hub() -> None:
    from armillary_hub.app_tokens import quiet_expected_notes
    from armillary_hub.group_shares import include_group_shares

    include_group_shares()
    quiet_expected_notes()


def _configure_addresses(c: Any, settings: Settings) -> None:
    hub = f"http://127.0.0.1:{settings.port_of('hub')}"
    c.JupyterHub.bind_url = f"http://{bracketed(settings.host)}:{settings.port}/"
    c.JupyterHub.hub_bind_url = hub
    c.JupyterHub.hub_connect_url = hub


def _configure_proxy(c: Any, settings: Settings) -> None:
    """Traefik is supervisord's: routes stay while the hub is away."""
    c.JupyterHub.proxy_class = "traefik_file"
    c.JupyterHub.cleanup_proxy = False
    proxy = c.TraefikFileProviderProxy
    proxy.should_start = False
    proxy.dynamic_config_file = str(settings.proxy_dir / "rules.toml")
    proxy.traefik_api_url = f"http://127.0.0.1:{settings.port_of('traefik')}"
    proxy.traefik_api_username = "hub"
    proxy.traefik_api_password = settings.secret("traefik")
    proxy.extra_dynamic_config = asleep.proxy_routes(settings)


def _configure_state(c: Any, settings: Settings) -> None:
    c.JupyterHub.db_url = settings.database_url("hub")
    c.JupyterHub.cookie_secret = bytes.fromhex(settings.secret("cookies"))
    # People's servers outlive the hub, whatever ends it; `armillary down` is what stops them.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.allow_named_servers = False
    c.JupyterHub.concurrent_spawn_limit = 20


def _configure_spawner(c: Any, settings: Settings) -> None:
    c.JupyterHub.spawner_class = f"armillary_hub.spawners.{settings.mode.title()}Spawner"
    c.Spawner.default_url = "/lab"
    c.Spawner.server_token_scopes = server_scopes()
    # The first import of JupyterLab on a cold disk takes most of a minute.
    c.Spawner.start_timeout = 120
    c.Spawner.http_timeout = 120
    c.LocalProcessSpawner.interrupt_timeout = 10
    c.LocalProcessSpawner.term_timeout = 5


def _configure_culler(c: Any) -> None:
    c.IdleCuller.timeout = IDLE_SERVER_TIMEOUT
    c.IdleCuller.cull_every = 300
    c.IdleCuller.cull_users = False
    c.IdleCuller.cull_arbiter_hook = culling.may_cull
