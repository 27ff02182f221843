"""Reading requests to the pool: who sends them and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from armillary_kernels.texts import translator
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from armillary_hub.pool.records import SERVICES
from armillary_hub.roles import LEASE_FOR_OTHERS
from armillary_hub.web.errors import WebError
from armillary_hub.web.identity import Identity

if TYPE_CHECKING:
    from armillary_hub.apps.owner import AppOwner
    from armillary_hub.pool.bodies import AskBody

_ = translator(__file__)

#: The largest number that a line of the history can have.
LAST_LINE = 2**31 - 1

_LINE = re.compile("[1-9][0-9]{0,9}")

Model = TypeVar("Model", bound=BaseModel)


def person_of(request: Request) -> Identity:
    """Return the person who sends a request."""
    identity: Identity = request.state.identity
    if identity.kind != "user":
        raise WebError(
            HTTPStatus.FORBIDDEN,
            _("{name} is a service; leases are people's.", name=identity.name),
            _("Use a person's token."),
        )
    return identity


def actor_of(request: Request) -> str:
    """Return who sends a request, as the books call them: a person's name, or ``services/<name>``, which none has.

    Raises
    ------
    WebError
        403 for a service that may not ask for people.
    """
    identity: Identity = request.state.identity
    if LEASE_FOR_OTHERS not in identity.scopes:
        return person_of(request).name
    return f"{SERVICES}{identity.name}" if identity.kind == "service" else identity.name


@dataclass(frozen=True)
class Asker:
    """Who asks for GPUs, and for whom.

    Attributes
    ----------
    actor
        As `actor_of` has it.
    user, groups
        Whom the lease is for.
    """

    actor: str
    user: str
    groups: tuple[str, ...]


def asker_of(request: Request, body: AskBody, owner_of: Callable[[str], AppOwner | None]) -> Asker:
    """Return who asks, and for whom: services ask for the people they name, apps for their owners.

    Raises
    ------
    WebError
        403 for a person who names somebody; 422 for a service that names nobody.
    """
    identity, actor = request.state.identity, actor_of(request)
    if identity.kind == "service":
        if body.user is None:
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, _("The request does not say for whom."), _("Name a user."))
        return Asker(actor, body.user, tuple(body.groups or ()))
    if body.user not in (None, identity.name) or body.groups is not None:
        raise WebError(HTTPStatus.FORBIDDEN, _("People ask for themselves only."), _("Leave out user and groups."))
    if owner := owner_of(identity.name):
        return Asker(actor, owner.name, owner.groups)
    return Asker(actor, identity.name, tuple(identity.groups))


def admin_of(request: Request) -> Identity:
    """Return the admin who sends a request."""
    identity = person_of(request)
    if not identity.admin:
        raise WebError(HTTPStatus.FORBIDDEN, _("{user} is no admin.", user=identity.name), _("Ask an admin to do it."))
    return identity


def whose(request: Request) -> tuple[str, Sequence[str]]:
    """Return the person whom a request is about, with groups: who sends it, or whom a service asks for."""
    identity: Identity = request.state.identity
    if identity.kind == "service" and LEASE_FOR_OTHERS in identity.scopes:
        named = request.query_params
        return named.get("user", ""), named.getlist("group")
    return identity.name, identity.groups


def line_of(request: Request) -> int | None:
    """Return the line of the history before which a request looks; None for the newest.

    Raises
    ------
    WebError
        422 for what is no line.
    """
    said = request.query_params.get("before")
    if said is None:
        return None
    if not _LINE.fullmatch(said) or int(said) > LAST_LINE:
        what = _("{before} is no line of the history.", before=f"before={said[:40]}")
        raise WebError(
            HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Give the number of a line, from 1 to {most}.", most=LAST_LINE)
        )
    return int(said)


async def body_of(request: Request, model: type[Model]) -> Model:
    """Return what a request says.

    Raises
    ------
    WebError
        422, with every field that is wrong.
    """
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
        what = _("The request cannot be read: {wrong}.", wrong=wrong)
        remedy = _("What requests say is described at {page}.", page="/services/gpu-pool/api")
        raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, remedy) from None
