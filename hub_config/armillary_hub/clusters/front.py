"""The public side of Dask Gateway, a hub service: ``python -m armillary_hub.clusters.front``.

====== ============================ =======================================================================
GET    ``/``                        my clusters, with buttons to stop them; an admin sees everybody's
POST   ``clusters/{name}/stop``     stop one
any    ``clusters/{name}/…``        its dashboard, for its owner
any    ``api/v1/…``                 the gateway's own API, which checks the caller's token itself
GET    ``api/addresses``            where schedulers are reached
GET    ``health``                   ``{"status": "ok"}``, without sign-in
====== ============================ =======================================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from armillary_kernels.texts import language_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from armillary_hub.clusters.dashboards import Dashboards
from armillary_hub.clusters.inventory_client import ClusterEntry, Inventory
from armillary_hub.settings import Settings
from armillary_hub.web.errors import EXCEPTION_HANDLERS, WebError, wants_page
from armillary_hub.web.identity import HubIdentity, Identity
from armillary_hub.web.pages import render
from armillary_hub.web.reverse_proxy import ReverseProxy
from armillary_hub.web.server import serve

SERVICE = "dask-gateway"
PREFIX = f"/services/{SERVICE}"


def front_app(settings: Settings) -> Starlette:
    """Return the service."""
    inventory = Inventory(settings)
    dashboards = Dashboards(inventory, f"{PREFIX}/clusters/")
    api = GatewayApi(settings)
    pages = ClusterPages(settings, inventory)
    identity = HubIdentity(settings, SERVICE, public_paths=("health", "api/health", "api/version", "api/v1/"))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await dashboards.close()
        await api.close()
        await inventory.close()

    return Starlette(
        routes=[
            *identity.routes(),
            Route(f"{PREFIX}/health", pages.health),
            Route(f"{PREFIX}/", pages.list_clusters),
            Route(f"{PREFIX}/api/addresses", pages.addresses),
            Mount(f"{PREFIX}/api", api),
            Route(f"{PREFIX}/clusters/{{name}}/stop", pages.stop_cluster, methods=["POST"]),
            Mount(f"{PREFIX}/clusters", dashboards),
        ],
        middleware=[identity.middleware()],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )


class GatewayApi:
    """Passes calls on to the gateway with nothing but the caller's own token.

    Parameters
    ----------
    settings
        The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        upstream = f"http://127.0.0.1:{settings.port_of('gateway-server')}"
        self._proxy = ReverseProxy(upstream, extra_headers=_authorization)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one call on; the gateway's inner routes stay inside."""
        path = scope["path"].removeprefix(PREFIX)
        if scope["type"] != "http" or not _is_open(path):
            raise WebError(404, f"There is nothing at {scope['path']}.")
        await self._proxy({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    async def close(self) -> None:
        """Close the connection."""
        await self._proxy.close()


def _is_open(path: str) -> bool:
    return path in ("/api/health", "/api/version", "/api/v1/options") or path.startswith("/api/v1/clusters/")


def _authorization(scope: Scope) -> dict[str, str]:
    given = dict(scope["headers"]).get(b"authorization")
    return {"authorization": given.decode("latin-1")} if given else {}


class ClusterPages:
    """What people see of their clusters.

    Parameters
    ----------
    settings
        The deployment.
    inventory
        The gateway's clusters.
    """

    def __init__(self, settings: Settings, inventory: Inventory) -> None:
        self._settings = settings
        self._inventory = inventory

    async def health(self, request: Request) -> Response:
        """Say that the service runs."""
        return JSONResponse({"status": "ok"})

    async def addresses(self, request: Request) -> Response:
        """Say where schedulers are reached: a TLS proxy that leads to them by name."""
        port = self._settings.port_of("gateway-scheduler")
        return JSONResponse({"scheduler_proxy": f"gateway://127.0.0.1:{port}"})

    async def list_clusters(self, request: Request) -> Response:
        """Show the caller's clusters, and to an admin everybody's."""
        identity: Identity = request.state.identity
        clusters = await self._inventory.clusters()
        seen = [cluster for cluster in clusters.values() if identity.admin or cluster.user == identity.name]
        seen.sort(key=lambda cluster: (cluster.user != identity.name, cluster.user, -cluster.started))
        if not wants_page(request):
            return JSONResponse({"clusters": [_model(cluster) for cluster in seen]})
        page = render(
            "clusters.html",
            identity=identity,
            language=language_of(request.headers.get("accept-language")),
            folder=Path(__file__).parent / "templates",
            clusters=seen,
            prefix=PREFIX,
            xsrf=identity.xsrf,
        )
        return HTMLResponse(page)

    async def stop_cluster(self, request: Request) -> Response:
        """Stop a cluster of the caller's; an admin may stop anybody's."""
        identity: Identity = request.state.identity
        name = request.path_params["name"]
        cluster = (await self._inventory.clusters()).get(name)
        if cluster is None or not (identity.admin or cluster.user == identity.name):
            raise WebError(404, f"You have no Dask cluster {name[:8]}.", "It may have stopped already.")
        await self._inventory.stop(name)
        if "authorization" in request.headers:
            return Response(status_code=204)
        return RedirectResponse(f"{PREFIX}/", 303)


def _model(cluster: ClusterEntry) -> dict[str, object]:
    shown = ("name", "user", "status", "workers", "threads", "memory", "started")
    return {name: getattr(cluster, name) for name in shown}


def main() -> None:
    """Serve the front of the deployment that ``ARMILLARY_HOME`` names."""
    settings = Settings.load()
    serve(front_app(settings), port=settings.port_of(SERVICE))


if __name__ == "__main__":
    main()
