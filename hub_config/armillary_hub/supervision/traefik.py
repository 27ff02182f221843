"""Traefik's static configuration; JupyterHub writes the routes (jupyterhub-traefik-proxy's file provider)."""

from __future__ import annotations

import json

from armillary_hub.settings import Settings, bracketed, write_atomically

# An upload may take an hour; Traefik's own limit is a minute for the whole request.
_TEMPLATE = """\
[global]
checkNewVersion = false
sendAnonymousUsage = false

[log]
level = "WARN"

[api]

[providers]
providersThrottleDuration = "0s"

[providers.file]
filename = {rules}
watch = true

[entryPoints.http]
address = "{host}:{port}"
[entryPoints.http.transport.respondingTimeouts]
readTimeout = "3600s"
[entryPoints.http.http]
aliasHeadersStrategy = "delete"

[entryPoints.auth_api]
address = "127.0.0.1:{api_port}"
[entryPoints.auth_api.http]
aliasHeadersStrategy = "delete"
"""


def write_static_configuration(settings: Settings) -> None:
    """Write what Traefik reads when it starts: its addresses, and where the hub puts the routes."""
    settings.proxy_dir.mkdir(mode=0o700, exist_ok=True)
    # Traefik does not watch for a file that is not there yet.
    (settings.proxy_dir / "rules.toml").touch(mode=0o600)
    text = _TEMPLATE.format(
        rules=json.dumps(str(settings.proxy_dir / "rules.toml")),
        host=bracketed(settings.host),
        port=settings.port,
        api_port=settings.port_of("traefik"),
    )
    write_atomically(settings.proxy_dir / "traefik.toml", text)
