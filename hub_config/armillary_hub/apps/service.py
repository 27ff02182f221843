"""The apps service: ``python -m armillary_hub.apps.service``, at ``/services/apps/``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from armillary_kernels.errors import ArmillaryError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from armillary_hub.apps import asleep, pages, rest
from armillary_hub.apps.database import Database
from armillary_hub.apps.hub_client import HubClient
from armillary_hub.apps.publisher import Publisher
from armillary_hub.apps.release_store import ReleaseStore
from armillary_hub.apps.watcher import Watcher
from armillary_hub.pool.configuration import GpuSharing
from armillary_hub.settings import Settings
from armillary_hub.web.errors import EXCEPTION_HANDLERS
from armillary_hub.web.identity import HubIdentity
from armillary_hub.web.language import AnswerInTheirLanguage
from armillary_hub.web.server import serve


def application(settings: Settings, gpu_idle_after: float = 0.0) -> Starlette:
    """Return the service's ASGI application; ``gpu_idle_after`` is as of `Watcher`."""
    database = Database(settings.database_url("apps"))
    hub = HubClient(settings)
    store = ReleaseStore(settings.apps_dir, team=settings.mode == "team")
    publisher = Publisher(settings, database, store, hub)
    watcher = Watcher(settings, database, hub, publisher, gpu_idle_after)
    identity = HubIdentity(settings, "apps", public_paths=("health",))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(watcher.watch())
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await publisher.close()
        await hub.close()
        database.close()

    prefix = identity.prefix
    signed_in = Starlette(
        routes=[
            *identity.routes(),
            Route(f"{prefix}health", _health),
            *pages.routes(prefix),
            *rest.routes(f"{prefix}api/"),
        ],
        middleware=[identity.middleware()],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    starlette = Starlette(
        # The proxy sends requests for apps that do not run here too; they bring no cookie of this service.
        routes=[*asleep.routes(identity), Mount("/", signed_in)],
        middleware=[Middleware(AnswerInTheirLanguage)],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    for each in (starlette, signed_in):
        each.state.settings, each.state.database, each.state.store = settings, database, store
        each.state.publisher, each.state.watcher = publisher, watcher
    return starlette


async def _health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def main() -> None:
    """Serve until SIGTERM."""
    settings = Settings.load()
    try:
        sharing = GpuSharing.load(settings)
    except ArmillaryError as error:
        raise SystemExit(f"The apps service does not start. {error}") from None
    serve(application(settings, sharing.app_idle_after * 60), port=settings.port_of("apps"))


if __name__ == "__main__":
    main()
