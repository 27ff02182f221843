"""The pool's page, its forms, and the same for programs.

==== =============== =======================================================================
GET  ``/``           devices, leases, queue: a page, or JSON
POST ``/``           the forms of the page (`armillary_hub.pool.forms`)
GET  ``utilisation`` the last hour of each GPU, minute by minute
GET  ``metrics``     the pool's figures for Prometheus: for admins, and tokens with the scope ``read:metrics``
==== =============== =======================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from armillary_kernels.texts import translator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from armillary_hub.pool.forms import Filled, FormError, PageForms
from armillary_hub.pool.history import history_of
from armillary_hub.pool.page import Sight, gpus_page
from armillary_hub.pool.reports import Reports
from armillary_hub.pool.requests import person_of
from armillary_hub.pool.views import Beside, Books
from armillary_hub.web.errors import WebError, wants_page
from armillary_hub.web.identity import Identity

if TYPE_CHECKING:
    from armillary_hub.pool.metrics import PoolMetrics
    from armillary_hub.pool.pool import GpuPool

_ = translator(__file__)

#: JupyterHub's own scope for its metrics; a token needs ``access:services!service=gpu-pool``, too, to come here.
_READ_METRICS = "read:metrics"

_METRICS_TYPE = "text/plain; version=0.0.4"

_HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'"}


class PageApi:
    """The routes.

    Parameters
    ----------
    pool
        The pool that they serve.
    """

    def __init__(self, pool: GpuPool) -> None:
        self.pool = pool

    def routes(self, prefix: str) -> list[BaseRoute]:
        """Return the routes below a prefix."""
        return [
            Route(f"{prefix}/", self.show, methods=["GET"]),
            Route(f"{prefix}/", self.send, methods=["POST"]),
            Route(f"{prefix}/utilisation", self.utilisation, methods=["GET"]),
            Route(f"{prefix}/metrics", self.metrics, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """Answer with the page, or with everything as JSON."""
        identity = request.state.identity
        if not wants_page(request):
            return await run_in_threadpool(lambda: JSONResponse(self._books(identity).state()))
        return await run_in_threadpool(self._page, identity, Filled(), HTTPStatus.OK, request.query_params)

    async def send(self, request: Request) -> Response:
        """Do what a form of the page says, and show the page again: with what is wrong, if anything is."""
        person = person_of(request)
        async with request.form(max_files=0) as form:
            values = {name: value for name, value in form.items() if isinstance(value, str)}
        try:
            done = await run_in_threadpool(PageForms(self.pool).do, person, values)
        except FormError as error:
            filled = Filled(values.get("action", ""), values, error.problems)
            return await run_in_threadpool(self._page, person, filled, error.status, {})
        return RedirectResponse(f"{request.url.path}?{urlencode({'done': done})}#done", HTTPStatus.SEE_OTHER)

    async def utilisation(self, request: Request) -> Response:
        """Answer with the last hour of each GPU."""
        return await run_in_threadpool(self._hour)

    def _hour(self) -> Response:
        devices, now, log = self.pool.devices(), self.pool.store.clock.now(), self.pool.samples
        hour = [{"index": one.index, "uuid": one.uuid, **history_of(log, one.uuid, now).plain()} for one in devices]
        return JSONResponse({"until": now.isoformat(), "seconds": 60, "devices": hour})

    async def metrics(self, request: Request) -> Response:
        """Answer with the figures for Prometheus."""
        identity = request.state.identity
        if not identity.admin and _READ_METRICS not in identity.scopes:
            what = _("{user} may not read the metrics.", user=identity.name)
            remedy = _("Use a token with the scope {scope}.", scope=_READ_METRICS)
            raise WebError(HTTPStatus.FORBIDDEN, what, remedy)
        return Response(await run_in_threadpool(lambda: self._metrics.text()), media_type=_METRICS_TYPE)

    @cached_property
    def _metrics(self) -> PoolMetrics:
        from armillary_hub.pool.metrics import PoolMetrics  # a tenth of a second, which the pool's start does not pay

        return PoolMetrics(self.pool)

    def _page(self, identity: Identity, filled: Filled, status: int, asked: Mapping[str, str]) -> Response:
        """Return the page; with many leases it takes a while, so it is made in a thread."""
        page = gpus_page(self._sight(identity), filled, done=asked.get("done", ""), edited=asked.get("quota", ""))
        return HTMLResponse(page, status, headers=_HEADERS)

    def _books(self, identity: Identity) -> Books:
        beside = Beside(
            lasted=Reports(self.pool.store).lasted(),
            samples=self.pool.samples.latest(),
            suspended_since=Reports(self.pool.store).suspended_since(),
            unleased=self.pool.enforcement.unleased,
            driver=self.pool.driver,
        )
        return Books(self.pool.situation(), identity, beside)

    def _sight(self, identity: Identity) -> Sight:
        books, now, wall = self._books(identity), self.pool.store.clock.now(), self.pool.store.clock.wall()
        policy, log = self.pool.policy, self.pool.samples
        return Sight(
            books=books,
            histories={device.uuid: history_of(log, device.uuid, now) for device in books.devices},
            quotas=books.situation.quotas,
            reservations=[one for one in policy.reservations() if one.span(wall) is not None],
            day_hours=Reports(self.pool.store).day_hours(identity.name),
            suspends=self.pool.suspends,
            not_kept_apart=self.pool.device_groups.problem,
            now=wall,
        )
