"""Who may do what: JupyterHub's roles and scopes, as narrow as they go. There is no other permission system."""

from __future__ import annotations

from typing import Any

from armillary_hub.apps import ROBOTS
from armillary_hub.settings import WEB_SERVICES, Settings

#: Lets a service lease GPUs for people, by its own token.
LEASE_FOR_OTHERS = "custom:gpu-pool:lease-for-others"

#: What each service may ask of the hub with its own token. A caller's own token is what identifies the caller.
SERVICE_SCOPES: dict[str, list[str]] = {
    "gpu-pool": ["read:users:groups"],
    # It leases GPUs for people's Dask workers; whose quota counts is told by their groups.
    "dask-gateway": [
        "read:users:name",
        "read:users:groups",
        "access:services!service=gpu-pool",
        LEASE_FOR_OTHERS,
    ],
    "mlflow": ["read:users:groups"],
    # An app is a hub user `app-<name>`. To make and delete users, no scope is narrower; but the service starts, stops
    # and shares the servers of this one group alone.
    "apps": [
        "admin:users",
        "read:groups:name",
        *(f"{scope}!group={ROBOTS}" for scope in ("groups", "servers", "shares", "access:servers")),
    ],
    "culler": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    # `armillary status` and `armillary down`.
    "operator": ["list:users", "read:servers", "delete:servers", "access:services!service=gpu-pool"],
}


def web_service_scopes() -> list[str]:
    """Return the scopes that let a person, or a program with a person's token, use the web services."""
    return [f"access:services!service={name}" for name in WEB_SERVICES]


def server_scopes() -> list[str]:
    """Return the scopes of the token that a person's server, and so every kernel in it, holds."""
    return [
        "users:activity!user",
        "access:servers!server",
        "read:users:name!user",
        "read:users:groups!user",
        *web_service_scopes(),
    ]


def declare_services(c: Any, settings: Settings) -> None:
    """Declare the deployment's services; supervisord runs them, the hub routes to them and knows their tokens."""
    services: list[dict[str, Any]] = [
        {"name": name, "api_token": settings.secret(name)} for name in ("culler", "operator")
    ]
    for name in WEB_SERVICES:
        services.append(
            {
                "name": name,
                "url": f"http://127.0.0.1:{settings.port_of(name)}",
                "api_token": settings.secret(name),
                "oauth_no_confirm": True,
                "display": False,
                # Seconds that the hub's start waits for it; supervisord brings it back whenever it comes.
                "timeout": 1,
            }
        )
    c.JupyterHub.services = services


def declare_roles(c: Any) -> None:
    """Declare the roles of people and services."""
    c.JupyterHub.load_groups = {ROBOTS: {"users": []}}
    c.JupyterHub.custom_scopes = {LEASE_FOR_OTHERS: {"description": "Lease GPUs from the pool for other users."}}
    roles = [{"name": "user", "scopes": ["self", *web_service_scopes()]}]
    for service, scopes in SERVICE_SCOPES.items():
        roles.append({"name": f"service-{service}", "scopes": scopes, "services": [service]})
    c.JupyterHub.load_roles = roles
