"""The gateway's routes for our front: whose each cluster is, where its dashboard listens, and stopping it.

Only the front's token opens them; the front itself decides which person may see what.
"""

from __future__ import annotations

import hmac
from typing import Any

from aiohttp import web
from dask_gateway_server.models import ClusterStatus

#: Where the routes begin.
PATH = "/api/armillary/clusters"


def routes(backend: Any) -> list[web.RouteDef]:
    """Return the routes for a backend, guarded by its ``front_token``."""

    async def list_clusters(request: web.Request) -> web.Response:
        _check_token(request, backend.front_token)
        return web.json_response([describe(backend, cluster) for cluster in backend.db.active_clusters()])

    async def stop_cluster(request: web.Request) -> web.Response:
        _check_token(request, backend.front_token)
        await backend.stop_cluster(request.match_info["name"])
        return web.Response(status=204)

    return [web.get(PATH, list_clusters), web.delete(PATH + "/{name}", stop_cluster)]


def describe(backend: Any, cluster: Any) -> dict[str, Any]:
    """Return what the front shows of a cluster (memory in bytes, time in ms since the epoch)."""
    running = cluster.model_status == ClusterStatus.RUNNING
    return {
        "name": cluster.name,
        "user": cluster.username,
        "status": cluster.model_status.name.lower(),
        "workers": len(cluster.active_workers()),
        "threads": cluster.config.worker_threads,
        "memory": cluster.config.worker_memory,
        "started": cluster.start_time,
        "dashboard": str(backend.folder_of(cluster).dashboard_socket) if running else None,
    }


def _check_token(request: web.Request, token: str) -> None:
    given = request.headers.get("Authorization", "").removeprefix("token ")
    if not token or not hmac.compare_digest(given.encode(), token.encode()):
        raise web.HTTPForbidden(reason="Only the deployment's own front may ask this.")
