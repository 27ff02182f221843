"""A mend for JupyterHub 6.1.1: a token, and so a visitor's session, has the servers shared with its owner's groups too.

`jupyterhub.scopes.get_scopes_for` adds the shares of a user's groups when it is asked about the user, but not when it
is asked about a token of the user's; only the user's own shares. An app shared with a group would let nobody in.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from jupyterhub import orm, roles, scopes

_MENDED = "_armillary_group_shares"


def include_group_shares() -> None:
    """Let what a user's roles expand to include the shares of the user's groups; a second call does nothing."""
    original = roles.roles_to_expanded_scopes
    if hasattr(original, _MENDED):
        return

    @wraps(original)
    def with_group_shares(held: Any, owner: Any) -> frozenset[str]:
        expanded = original(held, owner)
        if isinstance(owner, orm.User):
            for group in owner.groups:
                for share in group.shared_with_me:
                    expanded |= scopes.expand_share_scopes(share)
        return frozenset(expanded)

    setattr(with_group_shares, _MENDED, True)
    roles.roles_to_expanded_scopes = with_group_shares
