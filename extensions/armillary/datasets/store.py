"""The dataset store: ``<store>/<name>/<version>/``, each version immutable and either whole or not there at all.

A version is written into a hidden folder of the store, brought to the disk and renamed. Renaming a folder onto
one that is not empty fails, so two savers at once get different version numbers without any lock. A killed
saver leaves only its hidden folder, which the next save on the same host removes.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import durable_files
from armillary.datasets.features import Feature
from armillary.datasets.manifest import FILE_NAME, Manifest, StoredFile, read_manifest
from armillary.datasets.shards import write_split
from armillary.datasets.splits import Assignment
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_STAGING = ".saving"
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Another saver took the number, or removed the name's folder because its own first save failed.
_TRY_AGAIN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT})


@dataclass(frozen=True)
class Content:
    """All that a new version consists of; ``place_shards`` writes its examples into a folder."""

    features: dict[str, Feature]
    target: str
    input: InputSpec
    labels: NDArray[np.int64]
    split: Assignment
    place_shards: Callable[[Path], tuple[StoredFile, ...]]
    recipe: tuple[dict[str, Any], ...]
    source: str
    report: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None


def store_folder() -> Path:
    """Return where datasets lie: ``ARMILLARY_DATASETS``, else ``~/datasets``."""
    return Path(os.environ.get("ARMILLARY_DATASETS") or "~/datasets").expanduser().absolute()


def check_name(name: str) -> str:
    """Return ``name``, or raise DatasetError when a dataset cannot be called so."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
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


def names(store: Path) -> list[str]:
    """Return the names in a store that have at least one version."""
    if not store.is_dir():
        return []
    return sorted(
        folder.name for folder in store.iterdir() if _NAME.fullmatch(folder.name) and versions(store, folder.name)
    )


def versions(store: Path, name: str) -> list[int]:
    """Return the version numbers of a dataset, oldest first."""
    folder = store / name
    if not folder.is_dir():
        return []
    return sorted(
        int(entry.name) for entry in folder.iterdir() if _NUMBER.fullmatch(entry.name) and (entry / FILE_NAME).exists()
    )


def find(store: Path, reference: str) -> Path:
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


def save(name: str, content: Content, store: Path | None = None) -> Path:
    """Save the next version of ``name`` and return its folder.

    Content equal to the newest version's saves nothing and returns that version: running a notebook again makes
    no new versions.

    Raises
    ------
    DatasetError
        When the name holds a dataset of another form, or the version cannot be written. Then nothing is visible.
    """
    check_name(name)
    store = store or store_folder()
    _refuse_other_form(_newest(store, name), name, content)
    with _explained(name, store), _staging(store, name) as folder:
        shards = content.place_shards(folder)
        split_file = write_split(folder, content.split.names, content.split.codes)
        return _publish(store, name, folder, content, (shards, split_file))


def _newest(store: Path, name: str) -> Manifest | None:
    known = versions(store, name)
    return read_manifest(store / name / str(known[-1])) if known else None


def _refuse_other_form(newest: Manifest | None, name: str, content: Content) -> None:
    """Versions of one name can stand in for each other: the same columns, target, classes and input shape."""
    if newest is None:
        return
    kept = {
        _("columns"): (list(newest.features), list(content.features)),
        _("target"): (newest.target, content.target),
        _("classes"): (newest.features[newest.target], content.features[content.target]),
        _("features"): (newest.features, content.features),
        _("input shape"): (newest.input.shape, content.input.shape),
    }
    different = [what for what, (old, new) in kept.items() if old != new]
    if different:
        raise DatasetError(
            _(
                "The name {name!r} is taken by a dataset with other {part} ({reference}, saved {day} by {author}).",
                name=name,
                part=different[0],
                reference=f"{name}@{newest.version}",
                day=newest.created[:10],
                author=newest.author,
            ),
            _("Choose another name; a new version must have the same columns, target, classes and shape."),
        )


def _publish(
    store: Path, name: str, folder: Path, content: Content, files: tuple[tuple[StoredFile, ...], StoredFile]
) -> Path:
    while True:
        newest = _newest(store, name)
        _refuse_other_form(newest, name, content)
        manifest = _manifest(name, _next_number(store / name), content, files)
        if newest is not None and newest.content == manifest.content:
            return store / name / str(newest.version)
        durable_files.write_text(folder / FILE_NAME, json.dumps(manifest.to_json(), indent=1, ensure_ascii=False))
        durable_files.sync_folder(folder)
        if _renamed(folder, store / name / str(manifest.version)):
            return store / name / str(manifest.version)


def _next_number(folder: Path) -> int:
    """Return the number after the highest folder's, even if that one has lost its manifest."""
    taken = [int(entry.name) for entry in folder.iterdir() if _NUMBER.fullmatch(entry.name)] if folder.is_dir() else []
    return max(taken, default=0) + 1


def _renamed(folder: Path, destination: Path) -> bool:
    destination.parent.mkdir(exist_ok=True)
    try:
        folder.rename(destination)
    except OSError as error:
        if error.errno in _TRY_AGAIN:
            return False
        raise
    for file in destination.iterdir():
        file.chmod(0o444)
    durable_files.sync_folder(destination.parent)
    return True


def _manifest(name: str, version: int, content: Content, files: tuple[tuple[StoredFile, ...], StoredFile]) -> Manifest:
    classes = getattr(content.features[content.target], "names", ())
    return Manifest(
        name=name,
        version=version,
        features=content.features,
        target=content.target,
        input=content.input,
        shards=files[0],
        split_file=files[1],
        splits=content.split.counts(),
        class_counts=content.split.class_counts(content.labels, len(classes)),
        author=os.environ.get("JUPYTERHUB_USER") or getpass.getuser(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=content.source,
        parent=content.parent,
        recipe=content.recipe,
        report=content.report,
    )


@contextlib.contextmanager
def _staging(store: Path, name: str) -> Iterator[Path]:
    staging = store / _STAGING
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
def _explained(name: str, store: Path) -> Iterator[None]:
    """Turn the operating system's refusals into words."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
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
