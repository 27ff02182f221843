"""The dataset store: ``<store>/<name>/<version>/``, each version immutable and either whole or not there at all.

A version is there when its manifest is. Beside the versions lies the name's card, the one thing that may change.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.manifest import FILE_NAME, NAME, Manifest, read_manifest
from armillary.datasets.places import Place, is_folder, place_of
from armillary.datasets.shared_places import shelves
from armillary.errors import DatasetError

_ = translator(__file__)

DELETED = "deleted.json"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def store_folder() -> Place:
    """Return where datasets lie: ``ARMILLARY_DATASETS`` (a folder or a URL that fsspec knows), else ``~/datasets``."""
    return place_of(os.environ.get("ARMILLARY_DATASETS") or "~/datasets")


def place_of_own(dataset: Any) -> tuple[Place, str]:
    """Return a store and a reference: of an opened dataset those it has, else one's own store and what is given."""
    return (dataset.store, dataset.reference) if hasattr(dataset, "store") else (store_folder(), dataset)


def check_name(name: str) -> str:
    """Return ``name``, or raise DatasetError when a dataset cannot be called so."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DatasetError(
            _("{name!r} cannot name a dataset.", name=name),
            _("Use small letters, digits, '.', '_' and '-', beginning with a letter or digit."),
        )
    return name


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Return name and version of ``"digits@1"``; the version is None for ``"digits"``."""
    name, at, version = str(reference).partition("@")
    if at and not (version.isascii() and version.isdigit()):
        raise DatasetError(
            _("{reference!r} is no dataset reference.", reference=reference),
            _("Write name@version, such as digits@1."),
        )
    return check_name(name), int(version) if at else None


def names(store: Place) -> list[str]:
    """Return the names in a store that have at least one version."""
    if not is_folder(store):
        return []
    return sorted(
        folder.name for folder in store.iterdir() if NAME.fullmatch(folder.name) and versions_seen(store, folder.name)
    )


def versions(store: Place, name: str) -> list[int]:
    """Return the version numbers of a dataset, oldest first."""
    folder = store / name
    if not is_folder(folder):
        return []
    return sorted(
        int(entry.name) for entry in folder.iterdir() if _NUMBER.fullmatch(entry.name) and (entry / FILE_NAME).is_file()
    )


def versions_seen(store: Place, name: str) -> list[int]:
    """Return the version numbers of a dataset; none of one whose folder may not be read."""
    try:
        return versions(store, name)
    except OSError:
        return []


def find(store: Place, reference: str) -> Place:
    """Return the folder of a version; a bare name means the newest.

    Raises
    ------
    DatasetError
        When there is no such dataset or version; the error lists those there are.
    """
    name, version = parse_reference(reference)
    known = versions(store, name)
    if not known:
        others = ", ".join(names(store)) or _("none")
        raise DatasetError(
            _("There is no dataset {name!r} in {store}; datasets: {others}.", name=name, store=store, others=others),
            _("Import it or check the name."),
        )
    if version is not None and version not in known:
        _refuse_deleted(store, name, version)
        listed = ", ".join(map(str, known))
        raise DatasetError(
            _(
                "Dataset {name!r} has no version {version}; versions: {listed}.",
                name=name,
                version=version,
                listed=listed,
            ),
            _("Open one of these."),
        )
    return store / name / str(version or known[-1])


def find_anywhere(reference: str) -> Place:
    """Return the folder of a version of one's own store, or of one that somebody shares (``"ann/digits@1"``).

    Raises
    ------
    DatasetError
        When there is no such dataset or version, or it is not shared with oneself.
    """
    owner, slash, own = str(reference).partition("/")
    if not slash:
        return find(store_folder(), reference)
    name, version = parse_reference(own)
    known = [(versions_seen(shelf.folder, name), shelf.folder) for shelf in shelves() if shelf.owner == owner]
    found = [(numbers[-1], folder) for numbers, folder in known if numbers and (version is None or version in numbers)]
    if not found:
        what = _("{owner!r} shares no dataset {own!r} with you.", owner=owner, own=own)
        raise DatasetError(what, _("datasets.shared() lists what is shared with you."))
    return find(max(found)[1], own)


def _refuse_deleted(store: Place, name: str, version: int) -> None:
    try:
        deleted = json.loads((store / name / str(version) / DELETED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    raise DatasetError(
        _(
            "{reference} was deleted by {author} on {day}.",
            reference=f"{name}@{version}",
            author=deleted["author"],
            day=deleted["deleted"][:10],
        ),
        _("Open another version: {listed}.", listed=", ".join(map(str, versions(store, name)))),
    )


def newest(store: Place, name: str) -> Manifest | None:
    """Return the manifest of the newest version, if there is any."""
    known = versions(store, name)
    return read_manifest(store / name / str(known[-1])) if known else None


def next_number(folder: Place) -> int:
    """Return the number after the highest folder's, even if that one was deleted or has lost its manifest."""
    entries = folder.iterdir() if is_folder(folder) else ()
    taken = [int(entry.name) for entry in entries if _NUMBER.fullmatch(entry.name)]
    return max(taken, default=0) + 1
