"""Saving a version: all of it or nothing, whatever happens on the way.

On this machine a version is written into a hidden folder of the store, brought to the disk and renamed. Renaming a
folder onto one that is not empty fails, so two savers at once get different version numbers without any lock. A killed
saver leaves only its hidden folder, which the next save on the same host removes.

An object store cannot rename. There a version is written to a temporary folder here, its number is claimed by a file
that can be made only once, and its files are sent, the manifest last: without it there is no version.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from armillary_kernels.shared_datasets import STAGING
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import durable_files
from armillary.datasets.features import ClassLabel, Feature
from armillary.datasets.manifest import FILE_NAME, Manifest, StoredFile
from armillary.datasets.places import Place, is_local
from armillary.datasets.shards import write_split
from armillary.datasets.shared_places import person
from armillary.datasets.splits import Assignment
from armillary.datasets.store import check_name, newest, next_number, store_folder
from armillary.datasets.verified_files import verified_file
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)

_CLAIM = "claim.json"
_READ_ONLY = 0o444
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Another saver took the number, or removed the name's folder because its own first save failed.
_TRY_AGAIN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT})


@dataclass(frozen=True)
class Placed:
    """The examples of a new version, written into a folder, and what is known once they are.

    Attributes
    ----------
    labels
        The class of every row, ``(n,)``, where the version has a target.
    """

    shards: tuple[StoredFile, ...]
    split: Assignment
    labels: NDArray[np.int64] | None = None
    input: InputSpec | None = None
    media: tuple[StoredFile, ...] = ()
    skipped_file: StoredFile | None = None
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """All that a new version consists of; ``place`` writes its examples into a folder.

    Raises
    ------
    DatasetError
        When source or licence is no text.
    """

    features: dict[str, Feature]
    target: str | None
    place: Callable[[Path], Placed]
    recipe: tuple[dict[str, Any], ...]
    source: str
    licence: str = ""
    parent: str | None = None

    def __post_init__(self) -> None:
        for part, given in (("source", self.source), ("licence", self.licence)):
            if not isinstance(given, str):
                what = _("The {part} of the dataset is no text: {value!r}.", part=part, value=given)
                raise DatasetError(what, _("Give a text, or leave it out."))


def save(name: str, content: Content, store: Place | None = None) -> Place:
    """Save the next version of ``name`` and return its folder.

    Content equal to the newest version's saves nothing and returns that version: running a notebook again makes
    no new versions. Only where that version's files are damaged by now, a new one has them whole.

    Raises
    ------
    DatasetError
        When the name holds a dataset of another form, or the version cannot be written. Then nothing is visible.
    """
    check_name(name)
    store = store or store_folder()
    refuse_other_form(newest(store, name), name, content)
    with explained(name, store), staging(store, name) as folder:
        placed = content.place(folder)
        split_file = write_split(folder, placed.split.names, placed.split.codes)
        return _publish(store, name, folder, content, placed, split_file)


def refuse_other_form(present: Manifest | None, name: str, content: Content, placed: Placed | None = None) -> None:
    """Raise DatasetError unless versions of one name can stand in for each other.

    They have the same columns, target, classes and, once it is known, input shape.
    """
    if present is None:
        return
    kept = {
        _("columns"): (list(present.features), list(content.features)),
        _("target"): (present.target, content.target),
        _("classes"): (_target_of(present), _target_of(content)),
        _("features"): (present.features, content.features),
        _("input shape"): (_shape(present), _shape(placed) if placed else _shape(present)),
    }
    different = [what for what, (old, new) in kept.items() if old != new]
    if different:
        raise DatasetError(
            _(
                "The name {name!r} is taken by a dataset with other {part} ({reference}, saved {day} by {author}).",
                name=name,
                part=different[0],
                reference=f"{name}@{present.version}",
                day=present.created[:10],
                author=present.author,
            ),
            _("Choose another name; a new version must have the same columns, target, classes and shape."),
        )


def _target_of(described: Manifest | Content) -> Feature | None:
    return described.features.get(described.target) if described.target is not None else None


def _shape(described: Manifest | Placed) -> tuple[int, ...] | None:
    return described.input.shape if described.input else None


def _publish(store: Place, name: str, folder: Path, content: Content, placed: Placed, split_file: StoredFile) -> Place:
    while True:
        present = newest(store, name)
        refuse_other_form(present, name, content, placed)
        manifest = _manifest(name, next_number(store / name), content, placed, split_file)
        if present is not None and present.content == manifest.content:
            there = store / name / str(present.version)
            if _is_whole(there, folder, present):
                return there
        (folder / FILE_NAME).unlink(missing_ok=True)  # of the number that another saver took
        durable_files.write_text(folder / FILE_NAME, _as_json(manifest))
        destination = store / name / str(manifest.version)
        if renamed(folder, destination) if is_local(store) else _sent(folder, destination):
            return destination


def _as_json(manifest: Manifest) -> str:
    return json.dumps(manifest.to_json(), indent=1, ensure_ascii=False, default=np.generic.item)


def _is_whole(version: Place, written: Path, manifest: Manifest) -> bool:
    """Return whether a version still has what was just written again; so importing anew repairs what is damaged.

    Files that both share are the same, whatever they are, and what lies far away is not brought here to be compared.
    """
    if not is_local(version):
        return True
    try:
        for file in (*manifest.shards, *manifest.media, manifest.split_file):
            if not (written / file.file).samefile(version / file.file):
                verified_file(version, file)
    except (OSError, DatasetError):
        return False
    return True


def renamed(folder: Path, destination: Path) -> bool:
    """Bring a folder to the disk and give it its place; return False when something else has taken that.

    All is done before: what is visible is whole, readable by whoever may, and nobody is told that it was not saved.
    """
    for file in folder.rglob("*"):
        if file.is_file() and stat.S_IMODE(file.stat().st_mode) != _READ_ONLY:  # a shared one may be another's
            file.chmod(_READ_ONLY)
    for inner in (*(file for file in folder.iterdir() if file.is_dir()), folder):
        durable_files.sync_folder(inner)
    destination.parent.mkdir(exist_ok=True)
    durable_files.sync_folder(destination.parent.parent)
    try:
        folder.rename(destination)
    except OSError as error:
        if error.errno in _TRY_AGAIN:
            return False
        raise
    durable_files.sync_folder(destination.parent)
    return True


def _sent(folder: Path, destination: Any) -> bool:
    """Send a version to an object store; return False when another saver has claimed its number."""
    claim = {"host": socket.gethostname(), "pid": os.getpid(), "claimed": datetime.now(UTC).isoformat()}
    try:
        destination.fs.pipe_file((destination / _CLAIM).path, json.dumps(claim).encode(), mode="create")
    except FileExistsError:
        return False
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != FILE_NAME]
    for file in (*sorted(files), folder / FILE_NAME):
        destination.fs.put_file(str(file), (destination / file.relative_to(folder).as_posix()).path)
    return True


def _manifest(name: str, version: int, content: Content, placed: Placed, split_file: StoredFile) -> Manifest:
    target = _target_of(content)
    classes = len(target.names) if isinstance(target, ClassLabel) else 0
    return Manifest(
        name=name,
        version=version,
        features=content.features,
        target=content.target,
        input=placed.input,
        shards=placed.shards,
        media=placed.media,
        split_file=split_file,
        skipped_file=placed.skipped_file,
        splits=placed.split.counts(),
        class_counts={} if placed.labels is None else placed.split.class_counts(placed.labels, classes),
        author=person(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=content.source,
        licence=content.licence,
        parent=content.parent,
        recipe=content.recipe,
        report=placed.report,
    )


@contextlib.contextmanager
def staging(store: Place, name: str) -> Iterator[Path]:
    """Give a folder in which a version is put together; at the end nothing is left of it but what was renamed."""
    if not is_local(store):
        with tempfile.TemporaryDirectory(prefix="armillary-saving-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    staging = store / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(staging)
    folder = staging / f"{socket.gethostname()}--{os.getpid()}--{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # only an empty folder goes: a name without any version
            (store / name).rmdir()


def _remove_abandoned(staging: Path) -> None:
    for folder in staging.iterdir():
        host, _, rest = folder.name.rpartition("--")[0].rpartition("--")
        if host == socket.gethostname() and rest.isdigit() and not psutil.pid_exists(int(rest)):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def explained(name: str, store: Place) -> Iterator[None]:
    """Turn the operating system's refusals into words."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            what = _("The disk of {store} is full: dataset {name!r} was not saved.", store=store, name=name)
            remedy = _("Free space or set ARMILLARY_DATASETS to another disk.")
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            what = _("{store} cannot be written: dataset {name!r} was not saved.", store=store, name=name)
            remedy = _("Ask for the permission or set ARMILLARY_DATASETS.")
        else:
            what = _(
                "{store} cannot be written ({error}): dataset {name!r} was not saved.",
                store=store,
                error=error,
                name=name,
            )
            remedy = _("See what is wrong with that folder and try again.")
        raise DatasetError(what, remedy) from error
