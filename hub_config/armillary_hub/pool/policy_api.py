"""Quotas and reservations over REST. Everybody sees them, for they say why one waits; only admins change them.

====== =============================== ==============================================================
GET    ``quotas``                      all of them (an admin), and the one that counts for who asks
PUT    ``quotas/{scope}/{name}``       set that of a ``user`` or of each member of a ``group``
DELETE ``quotas/{scope}/{name}``       remove it
PUT    ``quotas/default``              set that of everybody else
DELETE ``quotas/default``              remove it
GET    ``reservations``                all that are not over
POST   ``reservations``                make one
DELETE ``reservations/{id}``           remove one
====== =============================== ==============================================================
"""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from armillary_kernels.texts import translator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from armillary_hub.pool.bodies import QuotaBody, ReservationBody
from armillary_hub.pool.policy_words import whose as whom
from armillary_hub.pool.quotas import QuotaRule, QuotaScope, quota_of
from armillary_hub.pool.requests import admin_of, body_of, whose
from armillary_hub.pool.reservations import Reservation, most_at_once
from armillary_hub.web.errors import WebError

if TYPE_CHECKING:
    from armillary_hub.pool.pool import GpuPool

_ = translator(__file__)

#: Characters of the name of a user or a group.
LONGEST_NAME = 255

_SCOPES: dict[str, QuotaScope] = {"user": "user", "group": "group", "default": "default"}


class PolicyError(WebError):
    """What an admin wants cannot be, because of one field: ``field`` names it."""

    def __init__(self, what: str, remedy: str, *, field: str) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, what, remedy)
        self.field = field


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a user or a group; those of groups may hold slashes.

    Raises
    ------
    PolicyError
        If it is empty, too long, or has spaces at its ends, which nobody sees.
    """
    if not name.strip():
        raise PolicyError(_("The name is empty."), _("Name the user or the group."), field="name")
    if len(name) > LONGEST_NAME:
        what = _("The name is longer than {most} characters.", most=LONGEST_NAME)
        raise PolicyError(what, _("Check it."), field="name")
    if name != name.strip():
        raise PolicyError(_("The name begins or ends with a space."), _("Leave the space out."), field="name")


def set_quota(pool: GpuPool, rule: QuotaRule) -> None:
    """Set a quota, and give those who wait what it allows now.

    Raises
    ------
    PolicyError
        If the name can be nobody's.
    """
    if rule.scope != "default":
        check_name(rule.name)
    pool.policy.set_quota(rule)
    pool.grant()


def remove_quota(pool: GpuPool, scope: QuotaScope, name: str) -> None:
    """Remove a quota.

    Raises
    ------
    WebError
        404 when there is none.
    """
    if not pool.policy.remove_quota(scope, name):
        what = _("There is no quota for {whom}.", whom=whom(scope, name))
        raise WebError(HTTPStatus.NOT_FOUND, what, _("Reload the page: it may be removed already."))
    pool.grant()


def reserve(pool: GpuPool, reservation: Reservation) -> None:
    """Make a reservation.

    Raises
    ------
    PolicyError
        If it is for more GPUs than there are, or than other reservations leave at that time, or over already; or if
        the name can be nobody's.
    """
    check_name(reservation.name)
    count = len(pool.devices())
    if reservation.devices > count:
        what = _("{n} GPUs were to be reserved; this machine has {count}.", n=reservation.devices, count=count)
        remedy = _("Reserve {n} at most.", n=count) if count else _("Reserve GPUs when it has some.")
        raise PolicyError(what, remedy, field="devices")
    if reservation.span(pool.store.clock.wall()) is None:
        raise PolicyError(_("The reservation is over already."), _("Check its times."), field="ends")
    most = most_at_once(reservation, pool.policy.reservations(), pool.store.clock.wall())
    if most > count:
        what = _("{n} GPUs would be reserved at the same time; this machine has {count}.", n=most, count=count)
        left = max(0, count - (most - reservation.devices))
        remedy = _("Reserve {n} at most, or choose another time.", n=left) if left else _("Choose another time.")
        raise PolicyError(what, remedy, field="devices")
    pool.policy.reserve(reservation)


def remove_reservation(pool: GpuPool, reservation_id: str) -> None:
    """Remove a reservation, and give those who wait what it kept.

    Raises
    ------
    WebError
        404 when there is none.
    """
    if not pool.policy.remove_reservation(reservation_id):
        what = _("There is no reservation {id}.", id=reservation_id)
        raise WebError(HTTPStatus.NOT_FOUND, what, _("Reload the page: it may be removed already."))
    pool.grant()


class PolicyApi:
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
            Route(f"{prefix}/quotas", self.quotas, methods=["GET"]),
            Route(f"{prefix}/quotas/default", self.set_quota, methods=["PUT"]),
            Route(f"{prefix}/quotas/default", self.remove_quota, methods=["DELETE"]),
            Route(f"{prefix}/quotas/{{scope}}/{{name:path}}", self.set_quota, methods=["PUT"]),
            Route(f"{prefix}/quotas/{{scope}}/{{name:path}}", self.remove_quota, methods=["DELETE"]),
            Route(f"{prefix}/reservations", self.reservations, methods=["GET"]),
            Route(f"{prefix}/reservations", self.reserve, methods=["POST"]),
            Route(f"{prefix}/reservations/{{id}}", self.remove_reservation, methods=["DELETE"]),
        ]

    async def quotas(self, request: Request) -> Response:
        """Answer with the quotas; a service that asks for people names one: ``?user=<name>&group=<group>&group=…``."""
        identity = request.state.identity
        user, groups = whose(request)
        rules = await run_in_threadpool(self.pool.policy.quotas)
        mine = quota_of(user, groups, rules)
        shown = rules if identity.admin else []
        return JSONResponse({"yours": asdict(mine), "quotas": [_quota(rule) for rule in shown]})

    async def set_quota(self, request: Request) -> Response:
        """Set a quota."""
        admin_of(request)
        scope, name = _whose(request)
        rule = QuotaRule(scope, name, (await body_of(request, QuotaBody)).quota())
        await run_in_threadpool(set_quota, self.pool, rule)
        return JSONResponse(_quota(rule))

    async def remove_quota(self, request: Request) -> Response:
        """Remove a quota."""
        admin_of(request)
        await run_in_threadpool(remove_quota, self.pool, *_whose(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reservations(self, request: Request) -> Response:
        """Answer with the reservations that are not over."""
        now = self.pool.store.clock.wall()
        every = await run_in_threadpool(self.pool.policy.reservations)
        return JSONResponse({"reservations": [one.plain() for one in every if one.span(now) is not None]})

    async def reserve(self, request: Request) -> Response:
        """Make a reservation."""
        admin = admin_of(request)
        reservation = (await body_of(request, ReservationBody)).reservation(admin.name)
        await run_in_threadpool(reserve, self.pool, reservation)
        return JSONResponse(reservation.plain(), HTTPStatus.CREATED)

    async def remove_reservation(self, request: Request) -> Response:
        """Remove a reservation."""
        admin_of(request)
        await run_in_threadpool(remove_reservation, self.pool, request.path_params["id"])
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _whose(request: Request) -> tuple[QuotaScope, str]:
    name = request.path_params.get("name", "")
    scope = _SCOPES.get(request.path_params.get("scope", "default"))
    if scope is None or (scope == "default") != (name == ""):
        what = _("Quotas are of a user, of a group, or the default.")
        remedy = _("Use {paths}.", paths="quotas/user/<name>, quotas/group/<name>, quotas/default")
        raise WebError(HTTPStatus.NOT_FOUND, what, remedy)
    return scope, name


def _quota(rule: QuotaRule) -> dict[str, Any]:
    return {"scope": rule.scope, "name": rule.name, **asdict(rule.quota)}
