"""Who may open an app."""

from __future__ import annotations

from typing import Annotated, Any

from armillary_kernels.texts import translator
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from armillary_hub.accounts.names import EVERYONE
from armillary_hub.web.errors import WebError

_ = translator(__file__)

_Name = Annotated[str, Field(min_length=1, max_length=255)]


class Access(BaseModel):
    """Named people and groups, besides the owner; the group ``everyone`` is everybody who can sign in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: tuple[_Name, ...] = ()
    groups: tuple[_Name, ...] = ()

    @classmethod
    def parse(cls, given: Any) -> Access:
        """Return the access for ``"me"``, ``"everyone"`` or ``{"users": […], "groups": […]}``.

        Raises
        ------
        WebError
            400 for anything else.
        """
        if given in ("me", None):
            return cls()
        if given == "everyone":
            return cls(groups=(EVERYONE,))
        try:
            return cls.model_validate(given)
        except ValidationError:
            what = _("The access {given!r} is not understood.", given=given)
            raise WebError(400, what, _('Give "me", "everyone" or {"users": [...], "groups": [...]}.')) from None

    @property
    def everyone(self) -> bool:
        """Whether everybody who can sign in may open the app."""
        return EVERYONE in self.groups

    def admits(self, name: str, groups: tuple[str, ...]) -> bool:
        """Return whether a person is named, or in a named group."""
        return name in self.users or bool(set(groups) & set(self.groups))
