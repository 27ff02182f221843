"""Dask's dashboards behind the hub's sign-in, each for the owner of its cluster only.

Not for admins: what a person's scheduler answers is that person's word, and would run as a page of this origin.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

from armillary_hub.clusters.inventory_client import ClusterEntry, Inventory
from armillary_hub.web.errors import WebError, error_response
from armillary_hub.web.reverse_proxy import ReverseProxy

#: Connections to dashboards that are kept; the oldest goes first.
_KEPT = 64


class Dashboards:
    """An ASGI application for ``clusters/{name}/…``.

    Parameters
    ----------
    inventory
        The gateway's clusters.
    prefix
        The path before the cluster's name.
    """

    def __init__(self, inventory: Inventory, prefix: str) -> None:
        self._inventory = inventory
        self._prefix = prefix
        self._proxies: dict[Path, ReverseProxy] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the cluster's dashboard, if it is the caller's own."""
        name, _, below = scope["path"].removeprefix(self._prefix).partition("/")
        try:
            socket = self._socket(name, scope, await self._inventory.find(name))
        except WebError as error:
            await _refuse(error, scope, receive, send)
            return
        if not below and scope["type"] == "http":  # Dask would lead to a path of its own
            await RedirectResponse(f"{self._prefix}{name}/status")(scope, receive, send)
            return
        proxy = await self._proxy(socket)
        raw = scope.get("raw_path") or scope["path"].encode()
        _, _, raw_below = raw.removeprefix(self._prefix.encode()).partition(b"/")
        await proxy({**scope, "path": f"/{below}", "raw_path": b"/" + raw_below}, receive, send)

    def _socket(self, name: str, scope: Scope, cluster: ClusterEntry | None) -> Path:
        identity = scope["state"]["identity"]
        # One answer for other people's clusters and for none, so that names cannot be probed.
        if cluster is None or cluster.user != identity.name or identity.kind != "user":
            raise WebError(404, f"You have no Dask cluster {name[:8]}.", "It may have stopped; start another.")
        if cluster.dashboard is None:
            raise WebError(503, f"The Dask cluster {name[:8]} is not running yet.", "Reload in a moment.")
        return cluster.dashboard

    async def _proxy(self, socket: Path) -> ReverseProxy:
        if socket not in self._proxies:
            self._proxies[socket] = ReverseProxy("http://dashboard", unix_socket=socket)
        if len(self._proxies) > _KEPT:
            await self._proxies.pop(next(iter(self._proxies))).close()
        return self._proxies[socket]

    async def close(self) -> None:
        """Close all connections."""
        for proxy in self._proxies.values():
            await proxy.close()


async def _refuse(error: WebError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    response = error_response(HTTPConnection(scope), error.status, error.what, error.remedy)
    await response(scope, receive, send)
