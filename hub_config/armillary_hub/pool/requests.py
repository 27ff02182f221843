"""Reading requests to the pool: who sends them and what they say."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from armillary_hub.web.errors import WebError
from armillary_hub.web.identity import Identity

Model = TypeVar("Model", bound=BaseModel)


def person_of(request: Request) -> Identity:
    """Return who sends a request; services hold no leases."""
    identity: Identity = request.state.identity
    if identity.kind != "user":
        raise WebError(HTTPStatus.FORBIDDEN, f"{identity.name} is a service; leases are people's.")
    return identity


def admin_of(request: Request) -> Identity:
    """Return the admin who sends a request."""
    identity = person_of(request)
    if not identity.admin:
        raise WebError(HTTPStatus.FORBIDDEN, f"{identity.name} is no admin.", "Ask an admin to do it.")
    return identity


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
        raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The request cannot be read: {wrong}.") from None
