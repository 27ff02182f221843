"""What an admin does to people, in terms of the running hub: add, invite, make admin, remove."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from armillary_kernels.texts import translator
from jupyterhub import orm, roles
from jupyterhub.user import User
from jupyterhub.utils import maybe_future

from armillary_hub.accounts import unix_accounts
from armillary_hub.accounts.database import now
from armillary_hub.accounts.errors import AccountsError, PeopleError
from armillary_hub.accounts.names import ROBOT_PREFIX, require_person_name

_ = translator(__file__)

State = Literal["active", "invited", "expired", "none"]


@dataclass(frozen=True)
class Person:
    """One line of the People page.

    Attributes
    ----------
    state
        ``"active"``: has a way to sign in; ``"invited"``; ``"expired"``: the invitation was not used in time;
        ``"none"``: was added elsewhere (REST API, configuration) and has no invitation yet.
    running
        Whether a server of theirs runs.
    """

    name: str
    admin: bool
    state: State
    running: bool


def list_people(handler: Any) -> list[Person]:
    """Return all people, not the robot accounts, by name."""
    found = handler.db.query(orm.User).filter(~orm.User.name.startswith(ROBOT_PREFIX)).order_by(orm.User.name)
    states = _states(handler.authenticator)
    return [
        Person(
            user.name,
            user.admin,
            states.get(user.name, "none") if states is not None else "active",
            any(spawner.server for spawner in user._orm_spawners),
        )
        for user in found
    ]


def _states(authenticator: Any) -> dict[str, State] | None:
    if not has_invitations(authenticator):
        return None
    states: dict[str, State] = {
        name: "invited" if invitation.expires > now() else "expired"
        for name, invitation in authenticator.invitations.pending().items()
    }
    return states | dict.fromkeys(authenticator.passwords.names(), "active")


def has_invitations(authenticator: Any) -> bool:
    """Tell whether people sign in by passwords of our own, and so are invited."""
    return hasattr(authenticator, "invitations")


def split_names(typed: str) -> list[str]:
    """Return the names in what was typed: separated by spaces, commas or lines, each once."""
    return list(dict.fromkeys(re.split(r"[\s,;，、；]+", typed.strip())))


def require_new_people(handler: Any, names: Sequence[str], language: str) -> None:
    """Check all names before any is added.

    Raises
    ------
    PeopleError
        One error with all reasons.
    """
    problems = []
    if not any(names):
        raise PeopleError("Type at least one name.")
    for name in names:
        try:
            require_person_name(name)
            if handler.find_user(name):
                problems.append(_("'{name}' is there already.", language=language, name=name))
            else:
                unix_accounts.require_available(handler.authenticator.settings, name)
        except AccountsError as error:
            problems.append(error.told(language))
    if problems:
        raise PeopleError("{problems}", problems="\n".join([*problems, _("Nobody was added.", language=language)]))


async def add_person(handler: Any, name: str, *, admin: bool = False) -> User:
    """Add a person to the hub, with all that the authenticator's `add_user` makes; all or nothing."""
    user = handler.user_from_username(name)
    try:
        await maybe_future(handler.authenticator.add_user(user))
    except Exception:
        handler.users.delete(user)
        raise
    if admin:
        set_admin(handler, user, admin=True)
    return user


def set_admin(handler: Any, user: User, *, admin: bool) -> None:
    """Make a person an admin, or no longer one."""
    user.admin = admin
    roles.assign_default_roles(handler.db, entity=user.orm_user)
    handler.db.commit()


async def remove_person(handler: Any, user: User) -> None:
    """Stop a person's servers, then remove account and user; sessions and tokens end with the user.

    Raises
    ------
    PeopleError
        If a server is still starting or stopping. Nothing is removed then.
    """
    for spawner in list(user.spawners.values()):
        if spawner.active and not spawner.pending:
            await handler.stop_single_user(user, spawner.name)
    if any(spawner.active for spawner in user.spawners.values()):
        raise PeopleError(
            "The server of '{name}' is still starting or stopping. Try again in a minute.", name=user.name
        )
    await maybe_future(handler.authenticator.delete_user(user))
    await user.delete_spawners()
    handler.users.delete(user)
