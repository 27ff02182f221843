"""The accounts' part of the hub's configuration. Who only reads it need not load the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from armillary_hub.accounts.look import apply_look
from armillary_hub.accounts.names import NAME_PATTERN

if TYPE_CHECKING:
    from jupyterhub.auth import Authenticator


def apply_account_rules(c: Any) -> None:
    """Put the accounts' part into the hub's configuration: sign-in by password, the rules and the look."""
    c.JupyterHub.authenticator_class = "armillary_hub.accounts.authenticator.PasswordAuthenticator"
    c.Authenticator.username_pattern = NAME_PATTERN
    c.Authenticator.allow_existing_users = True
    c.Authenticator.post_auth_hook = require_account_rules
    apply_look(c)


def require_account_rules(authenticator: Authenticator, _handler: Any, auth_model: dict[str, Any]) -> dict[str, Any]:
    """Let nobody in through an authenticator that lacks the rules (a `post_auth_hook`)."""
    from tornado.web import HTTPError

    from armillary_hub.accounts.rules import AccountRules

    if not isinstance(authenticator, AccountRules):
        name = type(authenticator).__name__
        raise HTTPError(
            500,
            f"The authenticator {name} lacks Armillary's account rules. In the hub's configuration, write"
            f" c.JupyterHub.authenticator_class = with_account_rules({name}).",
        )
    return auth_model
