"""The accounts' errors. Their texts are kept with their fields, so that a page tells them in the reader's language."""

from __future__ import annotations

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.texts import translator

_ = translator(__file__)


class AccountsError(ArmillaryError):
    """Something that cannot be done to people, passwords or accounts.

    Parameters
    ----------
    what, remedy
        As in `ArmillaryError`, with ``str.format`` fields.
    fields
        Their values.
    """

    def __init__(self, what: str, remedy: str = "", **fields: object) -> None:
        super().__init__(what.format(**fields), remedy.format(**fields))
        self._texts = [text for text in (what, remedy) if text]
        self._fields = fields

    def told(self, language: str) -> str:
        """Return both texts in a language."""
        # A text without fields is not formatted: fields of the other one are no business of its own.
        return " ".join(_(text, language=language).format(**self._fields) for text in self._texts)


class NameRefused(AccountsError):  # noqa: N818 - reads as what happened, as JupyterHub's own exceptions do
    """A name that a person cannot have."""


class PasswordRefused(AccountsError):  # noqa: N818 - as above
    """A password that is too easily guessed, or was not typed the same twice."""


class PeopleError(AccountsError):
    """Something an admin asked for that cannot be done."""


class AccountError(AccountsError):
    """A Unix account that cannot be made, used or removed."""
