"""The GPU pool's REST API and page, a hub service: ``python -m armillary_hub.pool.service``.

====== ============================ =======================================================================
POST   ``leases``                   ask: 201 granted, 202 queued (look at it every second, else it is lost)
GET    ``leases/{id}``              what has become of it
PATCH  ``leases/{id}``              tie it to the process that uses the GPUs
DELETE ``leases/{id}``              give it back, or leave the queue; an admin may end anybody's
POST   ``leases/{id}/release``      the same, for the page's button
GET    ``/``                        devices, leases, queue: a page, or JSON
GET    ``health``                   ``{"status": "ok"}``, without sign-in
====== ============================ =======================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Literal, TypeVar

from armillary_kernels.processes import Process
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from armillary_hub.pool.devices import inventory_of
from armillary_hub.pool.page import gpus_page
from armillary_hub.pool.pool import LOOK_INTERVAL, GpuPool, accounts
from armillary_hub.pool.store import Lease, LeaseStore
from armillary_hub.pool.views import Books
from armillary_hub.settings import Settings
from armillary_hub.web.errors import EXCEPTION_HANDLERS, WebError, wants_page
from armillary_hub.web.identity import HubIdentity, Identity
from armillary_hub.web.language import AnswerInTheirLanguage
from armillary_hub.web.server import serve

SERVICE = "gpu-pool"
PREFIX = f"/services/{SERVICE}"

_log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)


class HolderBody(BaseModel):
    """A process, as a request names it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    pid: int = Field(gt=1, lt=2**31)
    start_time: int = Field(ge=0, lt=2**63)

    def process(self) -> Process:
        """Return the process."""
        return Process(self.pid, self.start_time)


class AskBody(BaseModel):
    """What ``POST leases`` says."""

    model_config = ConfigDict(extra="forbid", strict=True)
    purpose: Literal["kernel", "worker", "app", "job"]
    devices: int = Field(ge=1, le=1024)
    label: str = Field(default="", max_length=200)
    holder: HolderBody


class BindBody(BaseModel):
    """What ``PATCH leases/{id}`` says."""

    model_config = ConfigDict(extra="forbid", strict=True)
    holder: HolderBody
    in_use: bool = True


class PoolApi:
    """The routes.

    Parameters
    ----------
    pool
        The pool that they serve.
    """

    def __init__(self, pool: GpuPool) -> None:
        self.pool = pool

    def routes(self) -> list[BaseRoute]:
        """Return all routes, below the service's prefix."""
        return [
            Route(f"{PREFIX}/", self.show, methods=["GET"]),
            Route(f"{PREFIX}/health", self.health, methods=["GET"]),
            Route(f"{PREFIX}/leases", self.ask, methods=["POST"]),
            Route(f"{PREFIX}/leases/{{id}}", self.look, methods=["GET"]),
            Route(f"{PREFIX}/leases/{{id}}", self.bind, methods=["PATCH"]),
            Route(f"{PREFIX}/leases/{{id}}", self.end, methods=["DELETE"]),
            Route(f"{PREFIX}/leases/{{id}}/release", self.release, methods=["POST"]),
        ]

    async def health(self, request: Request) -> Response:
        """Say that the service runs, and nothing else."""
        return JSONResponse({"status": "ok"})

    async def show(self, request: Request) -> Response:
        """Answer with the page, or with everything as JSON."""
        books = await self._books(request)
        return gpus_page(request, books) if wants_page(request) else JSONResponse(books.state())

    async def ask(self, request: Request) -> Response:
        """Ask for GPUs."""
        body = await _body(request, AskBody)
        user = _person(request).name
        lease = await run_in_threadpool(
            self.pool.ask, user, body.purpose, body.label, body.devices, body.holder.process()
        )
        status = HTTPStatus.CREATED if lease.state == "granted" else HTTPStatus.ACCEPTED
        return await self._answer(request, lease, status)

    async def look(self, request: Request) -> Response:
        """Say what has become of a lease."""
        lease = await run_in_threadpool(self.pool.look, _person(request).name, request.path_params["id"])
        return await self._answer(request, lease)

    async def bind(self, request: Request) -> Response:
        """Tie a lease to another process."""
        body = await _body(request, BindBody)
        user, lease_id = _person(request).name, request.path_params["id"]
        lease = await run_in_threadpool(self.pool.bind, user, lease_id, body.holder.process(), body.in_use)
        return await self._answer(request, lease)

    async def end(self, request: Request) -> Response:
        """Give a lease back, or as an admin take somebody's."""
        return await self._answer(request, await self._end(request))

    async def release(self, request: Request) -> Response:
        """Do the same for the button on the page, and show the page again."""
        await self._end(request)
        return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)

    async def _end(self, request: Request) -> Lease:
        identity, lease_id = _person(request), request.path_params["id"]
        lease = await run_in_threadpool(self.pool.store.get, lease_id)
        others = lease is not None and lease.user != identity.name
        do = self.pool.take_back if identity.admin and others else self.pool.give_back
        return await run_in_threadpool(do, identity.name, lease_id)

    async def _books(self, request: Request) -> Books:
        devices = await run_in_threadpool(self.pool.devices)
        return Books(devices, await run_in_threadpool(self.pool.leases), request.state.identity)

    async def _answer(self, request: Request, lease: Lease, status: int = HTTPStatus.OK) -> Response:
        return JSONResponse((await self._books(request)).lease(lease), status)


def _person(request: Request) -> Identity:
    identity: Identity = request.state.identity
    if identity.kind != "user":
        raise WebError(HTTPStatus.FORBIDDEN, f"{identity.name} is a service; leases are people's.")
    return identity


async def _body(request: Request, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
        raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The request cannot be read: {wrong}.") from None


async def _watch(pool: GpuPool) -> None:
    """Look again and again; a look that fails is logged, and the next one tries anew."""
    while True:
        try:
            await run_in_threadpool(pool.watch)
        except Exception:
            _log.exception("The pool's watcher failed")
        await asyncio.sleep(LOOK_INTERVAL)


def pool_app(pool: GpuPool, middleware: Sequence[Middleware] = (), routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the service: the pool behind a sign-in.

    Parameters
    ----------
    pool
        The pool.
    middleware
        What puts an `Identity` into ``request.state.identity``.
    routes
        The sign-in's own routes.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watcher = asyncio.create_task(_watch(pool))
        yield
        watcher.cancel()
        pool.store.close()

    return Starlette(
        routes=[*routes, *PoolApi(pool).routes()],
        middleware=[Middleware(AnswerInTheirLanguage), *middleware],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )


def main() -> None:
    """Serve the pool of the deployment that ``ARMILLARY_HOME`` names."""
    settings = Settings.load()
    store = LeaseStore(settings.database_url(SERVICE))
    pool = GpuPool(store, inventory_of(settings.simulate_gpus), accounts(settings))
    sign_in = HubIdentity(settings, SERVICE, public_paths={"health"})
    serve(pool_app(pool, [sign_in.middleware()], sign_in.routes()), port=settings.port_of(SERVICE))


if __name__ == "__main__":
    main()
