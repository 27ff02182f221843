"""The forms of the pool's page: they work without scripts, keep what was typed, and name what is wrong at the field.

Each is sent to the page itself with the field ``action`` (see `PageForms`) and the session's XSRF token, and leads back
to the page. What is done is what the REST API does, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from armillary_kernels.plain_texts import is_plain
from armillary_kernels.texts import translator
from pydantic import BaseModel, ValidationError

from armillary_hub.pool import policy_api
from armillary_hub.pool.bodies import FIRST_YEAR, LAST_YEAR, QuotaBody, ReservationBody
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.quotas import QuotaRule, QuotaScope
from armillary_hub.web.errors import WebError
from armillary_hub.web.identity import Identity

_ = translator(__file__)

_SCOPES: dict[str, QuotaScope] = {"user": "user", "group": "group", "default": "default"}

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Filled:
    """A form as it was sent, and what is wrong with it.

    Attributes
    ----------
    action
        Which form.
    values
        What was typed, by field.
    problems
        What is wrong, by field; under ``""`` what concerns no field.
    """

    action: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def value(self, action: str, name: str, otherwise: str = "") -> str:
        """Return what was typed into a field of a form, or what stands there otherwise."""
        return self.values.get(name, "") if action == self.action else otherwise

    def problem(self, action: str, name: str = "") -> str:
        """Return what is wrong with a field of a form."""
        return self.problems.get(name, "") if action == self.action else ""


class FormError(WebError):
    """A form that cannot be done as it is filled in: ``problems`` says what is wrong, by field."""

    def __init__(self, problems: Mapping[str, str], status: int = HTTPStatus.UNPROCESSABLE_ENTITY) -> None:
        super().__init__(status, " ".join(problems.values()))
        self.problems = dict(problems)


class PageForms:
    """What the forms do.

    Parameters
    ----------
    pool
        The pool.
    """

    def __init__(self, pool: GpuPool) -> None:
        self._pool = pool
        self._admins: dict[str, Callable[[Mapping[str, str], Identity], None]] = {
            "set-quota": self._set_quota,
            "remove-quota": self._remove_quota,
            "reserve": self._reserve,
            "remove-reservation": self._remove_reservation,
        }

    def do(self, identity: Identity, values: Mapping[str, str]) -> str:
        """Do what a form says; returns its action.

        Raises
        ------
        FormError
            422 where a field is wrong; another status where it cannot be done.
        WebError
            403 for who may not; 400 for no form of ours.
        """
        action = values.get("action", "")
        do = self._function(identity, action)
        if odd := [name for name, text in values.items() if not is_plain(text)]:
            raise FormError(dict.fromkeys(odd, _("No control characters, such as line breaks, can be here.")))
        try:
            do(values, identity)
        except FormError:
            raise
        except WebError as error:
            problem = f"{error.what} {error.remedy}".strip()
            raise FormError({getattr(error, "field", ""): problem}, error.status) from error
        return action

    def _function(self, identity: Identity, action: str) -> Callable[[Mapping[str, str], Identity], None]:
        if action == "suspend":
            return self._suspend
        if action not in self._admins:
            raise WebError(HTTPStatus.BAD_REQUEST, _("The form names no action."), _("Reload the page and try again."))
        if not identity.admin:
            what = _("{user} is no admin.", user=identity.name)
            raise WebError(HTTPStatus.FORBIDDEN, what, _("Ask an admin to do it."))
        return self._admins[action]

    def _suspend(self, values: Mapping[str, str], identity: Identity) -> None:
        self._pool.suspend(identity.name, values.get("lease", ""), anybodys=identity.admin)

    def _set_quota(self, values: Mapping[str, str], _identity: Identity) -> None:
        scope, name = _whose(values)
        name = name.strip()
        body = _read(QuotaBody, values)
        problems = {} if scope == "default" or name else {"name": _("Name the user or the group.")}
        if isinstance(body, dict) or problems:
            raise FormError({**problems, **(body if isinstance(body, dict) else {})})
        policy_api.set_quota(self._pool, QuotaRule(scope, name, body.quota()))

    def _remove_quota(self, values: Mapping[str, str], _identity: Identity) -> None:
        policy_api.remove_quota(self._pool, *_whose(values))

    def _reserve(self, values: Mapping[str, str], identity: Identity) -> None:
        body = _read(ReservationBody, values)
        if isinstance(body, dict):
            raise FormError(body)
        policy_api.reserve(self._pool, body.reservation(identity.name))

    def _remove_reservation(self, values: Mapping[str, str], _identity: Identity) -> None:
        policy_api.remove_reservation(self._pool, values.get("id", ""))


def _whose(values: Mapping[str, str]) -> tuple[QuotaScope, str]:
    scope = _SCOPES.get(values.get("scope", ""))
    if scope is None:
        raise FormError({"": _("Say for whom: a user, a group or everybody else.")})
    return scope, "" if scope == "default" else values.get("name", "")


def _read(model: type[Model], values: Mapping[str, str]) -> Model | dict[str, str]:
    """Return what a form says, or what is wrong with it by field. Fields left empty are left out."""
    given = {name: text.strip() for name, text in values.items() if name in model.model_fields}
    try:
        return model.model_validate_strings({name: text for name, text in given.items() if text}, strict=False)
    except ValidationError as error:
        wrong = [(str(one["loc"][0]) if one["loc"] else "ends", one["msg"]) for one in error.errors()]
        return {name: _advice(name, message) for name, message in wrong}


def _advice(name: str, message: str) -> str:
    """Return what a field must say."""
    sayings = {
        "gpus": _("A number of GPUs, such as 2 or 0.5; empty for no limit."),
        "gpu_hours": _("A number of hours, such as 8; empty for no limit."),
        "weight": _("A number above 0; 1 is usual."),
        "name": _("Name the user or the group."),
        "devices": _("How many GPUs: 1 or more."),
        "starts": _("A date and a time."),
        "ends": _("A date and a time."),
        "timezone": _("There is no such time zone. Europe/Berlin, Asia/Shanghai and UTC are some."),
        "note": _("200 characters at most."),
    }
    if "must end after" in message:
        return _("It must end after it starts.")
    if "does not exist in" in message:
        return _("There is no such time: the clocks are put forward then. Choose one an hour earlier or later.")
    if "the year must be" in message:
        return _("The year must be between {first} and {last}.", first=FIRST_YEAR, last=LAST_YEAR)
    if "a week at most" in message:
        return _("What comes every week lasts a week at most.")
    return sayings.get(name, message)
