"""Names as people give them: one, or several in a list; a text in place of a list would be taken letter by letter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from armillary_kernels.texts import translator

from armillary.errors import DatasetError

_ = translator(__file__)


def one_or_several(names: Any) -> list[Any]:
    """Return one name, or several, as a list."""
    return list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]


def refuse_text(names: Any, parameter: str) -> None:
    """Raise DatasetError where a text was given to a parameter that takes a list of names."""
    if isinstance(names, str):
        what = _("{parameter} is {names!r}.", parameter=parameter, names=names)
        raise DatasetError(what, _("Give the names in a list."))


def refuse_text_or_repeated(names: Any, parameter: str) -> None:
    """Raise DatasetError where names are a text, or two of them are the same."""
    refuse_text(names, parameter)
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise DatasetError(
                _("{parameter}: {name!r} is there twice.", parameter=parameter, name=name), _("Give each name once.")
            )
        seen.add(name)
