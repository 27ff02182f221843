"""Sign-in by password, for people whom an admin added.

Our own, because JupyterHub 6.1 brings none with a password for each person (PAM needs accounts with passwords, the
shared password is one for all) and nativeauthenticator 1.3 answers every sign-in with 500 on it. Nobody can sign up:
an admin adds a person and hands over an invitation, by which the person sets a password.
"""

from __future__ import annotations

import math
from typing import Any

from armillary_kernels.texts import translator
from tornado.web import HTTPError

from armillary_hub.accounts.attempts import Attempts
from armillary_hub.accounts.database import engine_for
from armillary_hub.accounts.invitations import InvitationStore
from armillary_hub.accounts.passwords import PasswordStore
from armillary_hub.accounts.rules import AccountRules, language_of_request

_ = translator(__file__)


class PasswordAuthenticator(AccountRules):
    """Signs in people by the passwords they set."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        engine = engine_for(self.settings.database_url("passwords"))
        self.passwords = PasswordStore(engine)
        self.invitations = InvitationStore(engine)
        self.attempts = Attempts()

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, str] | None:
        """Return the person's name if the password is theirs.

        Raises
        ------
        HTTPError
            429 after too many wrong passwords, 403 for a name reserved for apps.
        """
        name = self.normalize_username(data.get("username", "").strip())
        self.check_blocked_users(name)
        if not await self.check_password(handler, name, data.get("password", "")):
            return None
        return {"name": name} if handler.find_user(name) else None

    async def check_password(self, handler: Any, name: str, password: str) -> bool:
        """Tell whether the password is right; wrong ones are counted.

        Raises
        ------
        HTTPError
            429 after too many of them.
        """
        address = handler.request.remote_ip
        if wait := self.attempts.seconds_to_wait(name, address):
            language = language_of_request(handler)
            minutes = math.ceil(wait / 60)
            error = HTTPError(
                429, _("Too many wrong passwords. Try again in {n} minutes.", language=language, n=minutes)
            )
            error.headers = {"Retry-After": str(math.ceil(wait))}  # type: ignore[attr-defined]
            raise error
        self.attempts.begin(name, address)
        if not await self.passwords.verify(name, password):
            return False
        self.attempts.succeed(name, address)
        return True

    async def delete_user(self, user: Any) -> None:
        """Forget the person's password and invitations with the account."""
        self.passwords.forget(user.name)
        self.invitations.forget(user.name)
        await super().delete_user(user)

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Add the pages of invitations and passwords."""
        from armillary_hub.accounts.pages import password_handlers

        return [*super().get_handlers(app), *password_handlers()]
