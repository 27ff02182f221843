"""What holds for every hub user, whichever authenticator signs people in.

Names, the prefix reserved for apps, the group ``everyone`` and the Unix accounts are rules of the deployment. They
stand in a mixin, so that an OAuthenticator gets them too::

    from armillary_hub.accounts.rules import with_account_rules
    c.JupyterHub.authenticator_class = with_account_rules("github")

An authenticator that lacks them lets nobody in (`armillary_hub.accounts.configuration`): nothing
slips by a line in a configuration.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import entry_points
from typing import Any

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.texts import language_of
from jupyterhub import orm
from jupyterhub.auth import Authenticator
from sqlalchemy import event
from sqlalchemy.orm import Session, object_session
from tornado.web import HTTPError, RequestHandler
from traitlets import Any as AnyTrait
from traitlets import default

from armillary_hub.accounts import unix_accounts
from armillary_hub.accounts.errors import AccountsError
from armillary_hub.accounts.names import EVERYONE, is_robot, is_valid
from armillary_hub.settings import Settings


def language_of_request(handler: RequestHandler) -> str:
    """Return the language that the person's browser asks for."""
    return language_of(handler.request.headers.get("Accept-Language"))


class AccountRules(Authenticator):
    """An authenticator's part of the deployment's rules; put it before the class that signs people in."""

    settings = AnyTrait(help="The deployment's settings (`armillary_hub.settings.Settings`).")

    @default("settings")
    def _default_settings(self) -> Settings:
        return Settings.load()

    def validate_username(self, username: str) -> bool:
        """Tell whether a person or a robot account can have this name."""
        return is_valid(username) and bool(super().validate_username(username))

    def check_blocked_users(self, username: str, authentication: Any = None) -> Any:
        """Refuse to sign anyone in as an app; JupyterHub asks this before anything else."""
        if is_robot(username):
            # The template translates it: JupyterHub gives this method no request.
            raise HTTPError(403, "Names that begin with 'app-' are reserved for apps. Nobody signs in as one.")
        return super().check_blocked_users(username, authentication)

    async def run_post_auth_hook(self, handler: Any, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Refuse a newcomer whose account cannot be made before the hub adds the user."""
        try:
            unix_accounts.require_available(self.settings, auth_model["name"])
        except AccountsError as error:
            raise HTTPError(403, error.told(language_of_request(handler))) from error
        return _with_everyone(await super().run_post_auth_hook(handler, auth_model))

    async def refresh_user(self, user: Any, handler: Any = None) -> Any:
        """Keep the group ``everyone`` when the authenticator manages groups."""
        return _with_everyone(await super().refresh_user(user, handler))

    async def add_user(self, user: Any) -> None:
        """Make the user's account and membership; JupyterHub calls it for each new user and, at its start, for all."""
        if not self.validate_username(user.name):
            raise ValueError(f"Invalid username: {user.name}")
        await asyncio.to_thread(unix_accounts.add_account, self.settings, user.name)
        added = super().add_user(user)
        if added is not None:
            await added
        if not is_robot(user.name):
            _join_everyone(getattr(user, "orm_user", user))

    async def delete_user(self, user: Any) -> None:
        """Remove the user's account; the home is put aside, nothing is lost."""
        await asyncio.to_thread(unix_accounts.remove_account, self.settings, user.name)
        deleted = super().delete_user(user)
        if deleted is not None:
            await deleted

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Add the People page and the files of the hub's own look."""
        from armillary_hub.accounts.pages import shared_handlers

        return [*super().get_handlers(app), *shared_handlers()]


def _with_everyone(authenticated: Any) -> Any:
    if isinstance(authenticated, dict) and authenticated.get("groups") is not None:
        authenticated["groups"] = sorted({*authenticated["groups"], EVERYONE})
    return authenticated


def _join_everyone(orm_user: orm.User) -> None:
    session = object_session(orm_user)
    if not isinstance(session, Session):
        return
    group = orm.Group.find(session, EVERYONE)
    if group is None:
        group = orm.Group(name=EVERYONE)
        session.add(group)
    if group not in orm_user.groups:
        orm_user.groups.append(group)
    session.commit()


@event.listens_for(orm.User.name, "set")
def _refuse_renaming(_user: orm.User, value: str, old: Any, _initiator: Any) -> None:
    # The home, the Unix account, the password and the published apps all hang on the name.
    if isinstance(old, str) and old != value:
        raise HTTPError(400, "A user's name cannot be changed. Add a person with the new name instead.")


def with_account_rules(authenticator_class: type[Authenticator] | str) -> type[Authenticator]:
    """Return the authenticator class with the deployment's rules added.

    Parameters
    ----------
    authenticator_class
        A class, or the name under which its package registers it with JupyterHub (``"github"``).
    """
    if isinstance(authenticator_class, str):
        authenticator_class = _registered(authenticator_class)
    if issubclass(authenticator_class, AccountRules):
        return authenticator_class
    name = f"{authenticator_class.__name__}WithAccountRules"
    return type(name, (AccountRules, authenticator_class), {"__module__": __name__})


def _registered(name: str) -> type[Authenticator]:
    found = {entry.name: entry for entry in entry_points(group="jupyterhub.authenticators")}
    if name not in found:
        raise ArmillaryError(
            f"No authenticator is called {name!r}; there are: {', '.join(sorted(found))}.",
            "Install its package into the deployment's environment.",
        )
    return found[name].load()
