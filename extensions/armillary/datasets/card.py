"""The card of a dataset's name: what it is for people, beside the versions, and the one thing that may change."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from armillary_kernels.texts import translator

from armillary.datasets.durable_files import write_text
from armillary.datasets.places import Place, fresh, is_local
from armillary.datasets.store import find, place_of_own
from armillary.errors import DatasetError

if TYPE_CHECKING:
    from armillary.datasets.dataset import Dataset

_ = translator(__file__)

FILE = "card.json"
_MAX_TAG = 50


@dataclass(frozen=True)
class Card:
    """A description (Markdown) and tags to find the dataset by."""

    description: str = ""
    tags: tuple[str, ...] = ()


def read_card(folder: Place) -> Card:
    """Return the card of a name's folder; an empty one where there is none or it is damaged."""
    try:
        values = json.loads((fresh(folder) / FILE).read_text(encoding="utf-8"))
        return Card(str(values["description"]), tuple(map(str, values["tags"])))
    except (OSError, ValueError, KeyError, TypeError):
        return Card()


def describe(name: Dataset | str, description: str | None = None, tags: Sequence[str] | None = None) -> Card:
    """Write the card of a dataset and return it; what is not given stays as it is.

    Parameters
    ----------
    name
        The dataset's name, or an opened version.
    description
        What the examples are, how they were collected, what they are good for; Markdown.
    tags
        Words to find it by, each of at most 50 characters.

    Raises
    ------
    DatasetError
        When there is no such dataset, a tag is none, or the card cannot be written.
    """
    folder = find(*place_of_own(name)).parent
    present = read_card(folder)
    if isinstance(tags, str):
        raise DatasetError(_("The tags are {tags!r}.", tags=tags), _("Give words in a list."))
    card = Card(
        present.description if description is None else description,
        present.tags if tags is None else tuple(dict.fromkeys(_checked(tag) for tag in tags)),
    )
    try:
        write_card(folder, card)
    except OSError as error:
        what = _("The card of {name} cannot be written: {reason}.", name=folder.name, reason=error.strerror or error)
        raise DatasetError(what, _("See what is wrong with {folder} and try again.", folder=folder)) from error
    return card


def write_card(folder: Place, card: Card) -> None:
    """Put a card into a name's folder; whoever reads it meanwhile reads the old one."""
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False)
    if not is_local(folder):
        (folder / FILE).write_text(text, encoding="utf-8")
        return
    aside = folder / f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        write_text(aside, text)
        aside.chmod(0o644)  # of a shared one, too, whatever the umask
        aside.rename(folder / FILE)
    finally:
        aside.unlink(missing_ok=True)


def _checked(tag: str) -> str:
    if not isinstance(tag, str) or not tag.strip() or len(tag) > _MAX_TAG or not tag.isprintable():
        raise DatasetError(
            _("{tag!r} is no tag.", tag=tag), _("Give words of at most {n} characters in a list.", n=_MAX_TAG)
        )
    return tag.strip()
