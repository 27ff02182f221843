"""The GPU pool's REST API and page, a hub service: ``python -m armillary_hub.pool.service``.

====== ============================ =======================================================================
POST   ``leases``                   ask: 201 granted, 202 queued (look at it every second, else it is lost);
                                    repeated with the same id it answers with the lease as it stands
GET    ``leases/{id}``              what has become of it
PATCH  ``leases/{id}``              tie it to the process that uses the GPUs
DELETE ``leases/{id}``              give it back, or leave the queue; an admin may end anybody's
POST   ``leases/{id}/leave``        leave the queue: 409 where the GPUs are there already
POST   ``leases/{id}/release``      end it and the process that uses its GPUs, for the page's button
PUT    ``leases/{id}/activity``     say whether the process is busy; idle ones may be suspended for others
POST   ``leases/{id}/suspend``      suspend it now; an admin may suspend anybody's
POST   ``leases/{id}/resume``       get GPUs for a suspended one again: 200 granted, 202 queued
GET    ``history``                  the audit: one's own, an admin's everybody's
GET    ``health``                   ``{"status": "ok"}``, without sign-in
====== ============================ =======================================================================

The page is in `armillary_hub.pool.page_api`, quotas and reservations are in `armillary_hub.pool.policy_api`; all of it
is described at ``openapi.json``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from http import HTTPStatus

from armillary_kernels.errors import ArmillaryError
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from armillary_hub.accounts.unix_accounts import is_persons
from armillary_hub.apps.owner import owner_of
from armillary_hub.pool import openapi
from armillary_hub.pool.bodies import ActivityBody, AskBody, BindBody
from armillary_hub.pool.configuration import GpuSharing
from armillary_hub.pool.cuda_suspender import CudaSuspender
from armillary_hub.pool.device_groups import DeviceGroups, NoDeviceGroups, name_of
from armillary_hub.pool.devices import Inventory, inventory_of
from armillary_hub.pool.faults import answer_database_fault, fault_of
from armillary_hub.pool.host_memory import HostMemory
from armillary_hub.pool.machine import accounts
from armillary_hub.pool.ownership import DatabaseInUseError
from armillary_hub.pool.page_api import PageApi
from armillary_hub.pool.policy_api import PolicyApi
from armillary_hub.pool.pool import INVENTORY_AGE, LOOK_INTERVAL, SAMPLE_INTERVAL, GpuPool
from armillary_hub.pool.records import Change, Lease
from armillary_hub.pool.reports import Reports
from armillary_hub.pool.request_limits import RequestLimits
from armillary_hub.pool.requests import actor_of, asker_of, body_of, line_of, person_of
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspender import SimulatedSuspender, Suspender
from armillary_hub.pool.views import Beside, Books
from armillary_hub.settings import Settings
from armillary_hub.web.errors import EXCEPTION_HANDLERS
from armillary_hub.web.identity import HubIdentity
from armillary_hub.web.language import AnswerInTheirLanguage
from armillary_hub.web.server import serve

SERVICE = "gpu-pool"
PREFIX = f"/services/{SERVICE}"

#: Seconds between two times at which what is long over is forgotten.
TIDY_INTERVAL = 3600.0

#: Lines of the audit in one answer.
HISTORY_LINES = 200

_log = logging.getLogger(__name__)


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
        lease = f"{PREFIX}/leases/{{id}}"
        return [
            Route(f"{PREFIX}/health", self.health, methods=["GET"]),
            Route(f"{PREFIX}/history", self.history, methods=["GET"]),
            Route(f"{PREFIX}/leases", self.ask, methods=["POST"]),
            Route(lease, self.look, methods=["GET"]),
            Route(lease, self.bind, methods=["PATCH"]),
            Route(lease, self.end, methods=["DELETE"]),
            Route(f"{lease}/leave", self.leave, methods=["POST"]),
            Route(f"{lease}/release", self.release, methods=["POST"]),
            Route(f"{lease}/activity", self.note_activity, methods=["PUT"]),
            Route(f"{lease}/suspend", self.suspend, methods=["POST"]),
            Route(f"{lease}/resume", self.resume, methods=["POST"]),
            *PageApi(self.pool).routes(PREFIX),
            *PolicyApi(self.pool).routes(PREFIX),
            *openapi.routes(PREFIX),
        ]

    async def health(self, request: Request) -> Response:
        """Say that the service runs, and nothing else."""
        return JSONResponse({"status": "ok"})

    async def history(self, request: Request) -> Response:
        """Answer with the last changes, oldest first; ``?before=<number>`` leads to earlier ones."""
        identity, before = request.state.identity, line_of(request)
        user = None if identity.admin else identity.name
        changes = await run_in_threadpool(self.pool.store.changes, user=user, before=before, limit=HISTORY_LINES)
        return await run_in_threadpool(self._told, request, changes)

    async def ask(self, request: Request) -> Response:
        """Ask for GPUs."""
        body = await body_of(request, AskBody)
        asker = asker_of(request, body, self.pool.owner_of)
        lease = await run_in_threadpool(
            self.pool.ask,
            asker.user,
            body.purpose,
            body.label,
            body.devices,
            body.holder.process(),
            memory=body.memory,
            groups=asker.groups,
            asked_by=asker.actor,
            together=body.together.together() if body.together else None,
            lease_id=body.id,
        )
        return await self._answer(request, lease, _created)

    async def look(self, request: Request) -> Response:
        """Say what has become of a lease."""
        return await self._answer(request, await self._do(request, self.pool.look))

    async def bind(self, request: Request) -> Response:
        """Tie a lease to another process."""
        body = await body_of(request, BindBody)
        lease = await self._do(request, self.pool.bind, body.holder.process(), body.in_use)
        return await self._answer(request, lease)

    async def note_activity(self, request: Request) -> Response:
        """Note whether the process of a lease is busy."""
        body = await body_of(request, ActivityBody)
        return await self._answer(request, await self._do(request, self.pool.note_activity, body.busy))

    async def suspend(self, request: Request) -> Response:
        """Suspend a lease now."""
        person, lease_id = person_of(request), request.path_params["id"]
        lease = await run_in_threadpool(self.pool.suspend, person.name, lease_id, anybodys=person.admin)
        return await self._answer(request, lease)

    async def resume(self, request: Request) -> Response:
        """Ask for the GPUs of a suspended lease again."""
        lease = await self._do(request, self.pool.resume)
        return await self._answer(request, lease, _resumed)

    async def end(self, request: Request) -> Response:
        """Give a lease back, or as an admin take somebody's."""
        return await self._answer(request, await self._end(request))

    async def leave(self, request: Request) -> Response:
        """Leave the queue."""
        return await self._answer(request, await self._do(request, self.pool.leave))

    async def release(self, request: Request) -> Response:
        """End a lease and the process that uses its GPUs, as the page's button does; a browser sees the page again."""
        person, lease_id = person_of(request), request.path_params["id"]
        lease = await run_in_threadpool(self.pool.take_back, person.name, lease_id, anybodys=person.admin)
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)
        return await self._answer(request, lease)

    async def _end(self, request: Request) -> Lease:
        identity, actor, lease_id = request.state.identity, actor_of(request), request.path_params["id"]
        lease = await run_in_threadpool(self.pool.store.get, lease_id)
        others = identity.kind == "user" and lease is not None and lease.user != actor
        do = self.pool.take_back if identity.admin and others else self.pool.give_back
        return await run_in_threadpool(do, actor, lease_id)

    async def _do(self, request: Request, what: Callable[..., Lease], *values: object) -> Lease:
        """Do something with a lease of the person who asks for it, or of the service that asked for a person."""
        return await run_in_threadpool(what, actor_of(request), request.path_params["id"], *values)

    async def _answer(self, request: Request, lease: Lease, status: Callable[[Lease], int] | None = None) -> Response:
        def answer() -> Response:
            books = self._books(request)
            now = books.find(lease.id) or self.pool.store.get(lease.id) or lease  # it may have changed meanwhile
            return JSONResponse(books.lease(now), HTTPStatus.OK if status is None else status(now))

        # All of it in the thread: what others hold and wait for is gone through, while the loop answers on.
        return await run_in_threadpool(answer)

    def _told(self, request: Request, changes: Sequence[Change]) -> Response:
        books = self._books(request)
        return JSONResponse({"changes": [books.change(change) for change in changes]})

    def _books(self, request: Request) -> Books:
        situation = self.pool.situation()
        waits = any(lease.waiting_since for lease in situation.leases)
        lasted = Reports(self.pool.store).lasted() if waits else ()
        return Books(situation, request.state.identity, Beside(lasted))


def _created(lease: Lease) -> int:
    """Return 201 for a granted lease, 202 for one that waits, 200 for one asked for before that neither does."""
    if lease.state == "granted":
        return HTTPStatus.CREATED
    return HTTPStatus.OK if lease.waiting_since is None else HTTPStatus.ACCEPTED


def _resumed(lease: Lease) -> int:
    """Return 200 for a lease that has its GPUs again, 202 for one that waits for them."""
    return HTTPStatus.OK if lease.devices else HTTPStatus.ACCEPTED


async def _again_and_again(task: Callable[[], None], seconds: float) -> None:
    """Do something for ever; where it fails the log says so once, and the next time it is tried anew."""
    said = ""
    while True:
        try:
            await run_in_threadpool(task)
            said = ""
        except DatabaseInUseError:
            _log.exception("The GPU pool ends")
            signal.raise_signal(signal.SIGTERM)  # whoever started it starts it again, if it may have the database then
            return
        except Exception as error:
            what = str(fault_of(error, "") if isinstance(error, DBAPIError) else error)
            if what != said:
                _log.exception("The GPU pool's %s failed", task.__name__)
            said = what
        await asyncio.sleep(seconds)


def pool_app(
    pool: GpuPool,
    middleware: Sequence[Middleware] = (),
    routes: Sequence[BaseRoute] = (),
    sample_interval: float = SAMPLE_INTERVAL,
) -> Starlette:
    """Return the service: the pool behind a sign-in.

    Parameters
    ----------
    pool
        The pool.
    middleware
        What puts an `Identity` into ``request.state.identity``.
    routes
        The sign-in's own routes.
    sample_interval
        Seconds between two samples of the GPUs.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(pool.recover)
        # Apart: NVML may take its time, and the dead are not waited for.
        tasks = [
            asyncio.create_task(_again_and_again(pool.watch, LOOK_INTERVAL)),
            asyncio.create_task(_again_and_again(pool.look_at_devices, INVENTORY_AGE)),
            asyncio.create_task(_again_and_again(pool.take_sample, sample_interval)),
            asyncio.create_task(_again_and_again(pool.pruning.prune, TIDY_INTERVAL)),
        ]
        yield
        for task in tasks:
            task.cancel()
        pool.store.close()

    return Starlette(
        routes=[*routes, *PoolApi(pool).routes()],
        middleware=[Middleware(AnswerInTheirLanguage), Middleware(RequestLimits), *middleware],
        exception_handlers={**EXCEPTION_HANDLERS, DBAPIError: answer_database_fault},
        lifespan=lifespan,
    )


def _suspender(settings: Settings, sharing: GpuSharing, inventory: Inventory) -> Suspender:
    unwanted = None if sharing.suspend else "the admin does not want it"
    if settings.simulate_gpus:
        return SimulatedSuspender(unwanted)
    return CudaSuspender(inventory, HostMemory(int(sharing.host_memory_margin * 1024)), unwanted=unwanted)


def _device_groups(settings: Settings, sharing: GpuSharing) -> DeviceGroups | NoDeviceGroups:
    if settings.mode == "solo":
        return NoDeviceGroups()
    if not sharing.device_groups:
        return NoDeviceGroups("the admin does not want it")
    groups = DeviceGroups(name_of(settings.home), partial(is_persons, settings))
    if groups.problem is not None:
        _log.warning("Processes can open GPUs without a lease: %s", groups.problem)
    return groups


def main() -> None:
    """Serve the pool of the deployment that ``ARMILLARY_HOME`` names."""
    settings = Settings.load()
    try:
        sharing = GpuSharing.load(settings)
        store = LeaseStore(sharing.database_url or settings.database_url(SERVICE), rules=sharing.rules())
    except ArmillaryError as error:
        raise SystemExit(f"The GPU pool does not start. {error}") from None
    inventory = inventory_of(settings.simulate_gpus)
    pool = GpuPool(
        store,
        inventory,
        accounts(settings),
        suspender=_suspender(settings, sharing, inventory),
        may_end=partial(is_persons, settings) if sharing.stop_unleased else None,
        owner_of=partial(owner_of, settings.apps_dir),
        device_groups=_device_groups(settings, sharing),
    )
    sign_in = HubIdentity(settings, SERVICE, public_paths={"health"})
    app = pool_app(pool, [sign_in.middleware()], sign_in.routes(), sharing.sample_interval)
    serve(app, port=settings.port_of(SERVICE))


if __name__ == "__main__":
    main()
