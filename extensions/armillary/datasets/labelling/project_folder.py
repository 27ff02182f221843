"""Where a labelling project lies, and who may write there.

A project lies in the store, below the dataset's name: ``<store>/<name>/.labelling/<project>/``, with its settings in
``project.json``, which never change, and ``answers/``, where each person has a file of their own. That of a version
that its owner shares lies where it is shared, in the folder of the first of its groups.

Modes, on a file system (a person's processes run with umask 077, so all are set explicitly): who may read the version
may take part, nobody else. The project's folders can be entered by the group, or by others, exactly where the version's
can. ``answers`` can be written by the same people and has the sticky bit: each may add a file of their own, none may
rename or remove another's; with the set-group-ID bit the files keep the dataset's group. The files themselves can be
written by their account alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.durable_files import sync_folder, write_text
from armillary.datasets.labelling.settings import Settings
from armillary.datasets.manifest import FILE_NAME
from armillary.datasets.places import Place, is_local
from armillary.datasets.shared_places import person, shared_folder, shelves
from armillary.errors import DatasetError

_ = translator(__file__)

FOLDER = ".labelling"
SETTINGS = "project.json"
ANSWERS = "answers"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Modes:
    """Modes below a dataset's folder: of folders to enter, of the folder to add files to, and of these."""

    folder: int
    answers: int
    file: int


def modes_for(version: Path) -> Modes:
    """Return the modes that let exactly those take part who may read the version."""
    mode = version.stat().st_mode
    group, others = mode & 0o050 == 0o050, mode & 0o005 == 0o005
    return Modes(
        0o700 | group * 0o2050 | others * 0o005,
        0o1700 | group * 0o2070 | others * 0o007,
        0o600 | group * 0o040 | others * 0o004,
    )


def project_roots(dataset: Dataset) -> list[Place]:
    """Return the folders ``<store>/<name>`` below which projects of a dataset may lie: where it is shared first."""
    if dataset.owner is not None:
        return [dataset.folder.parent]
    own = [shelf.folder / dataset.name for shelf in shelves() if shelf.owner == person()]
    return [*own, dataset.folder.parent]


def root_for(dataset: Dataset, people: Sequence[str]) -> Place:
    """Return the folder below which a new project of a version lies.

    Raises
    ------
    DatasetError
        When others are to label it who cannot read it.
    """
    number = str(dataset.version)
    root = next(root for root in project_roots(dataset) if (root / number / FILE_NAME).exists())
    others = [who for who in people if who != person()]
    closed = is_local(root) and not (root / number).stat().st_mode & 0o055
    if others and closed and shared_folder() is not None:
        raise DatasetError(
            _("{people} cannot read {reference}.", people=", ".join(others), reference=dataset.reference),
            _('Share it first: datasets.share("{reference}", with_="everyone").', reference=dataset.reference),
        )
    return root


def make_folder(dataset: Dataset, settings: Settings) -> Place:
    """Write the settings of a new project, whole or not at all, and return its folder.

    Raises
    ------
    DatasetError
        When the name is taken, or this person may not write beside the dataset.
    """
    if not isinstance(settings.name, str) or not _NAME.fullmatch(settings.name):
        raise DatasetError(
            _("{name!r} cannot name a labelling project.", name=settings.name),
            _("Use small letters, digits, '.', '_' and '-', beginning with a letter or digit."),
        )
    root = root_for(dataset, settings.people)
    folder = root / FOLDER / settings.name
    text = json.dumps(settings.to_json(), indent=1, ensure_ascii=False)
    try:
        made = (
            _make_local(folder, text, root / str(dataset.version)) if is_local(folder) else _make_remote(folder, text)
        )
    except OSError as error:
        raise DatasetError(
            _("{folder} cannot be written ({error}).", folder=folder.parent, error=error.strerror or error),
            _("Ask the dataset's owner, who can write there, to make the project."),
        ) from error
    if not made:
        raise DatasetError(
            _("{name} has a labelling project {project!r} already.", name=dataset.name, project=settings.name),
            _("Open it, or choose another name."),
        )
    return folder


def _make_local(folder: Path, text: str, version: Path) -> bool:
    modes, gid = modes_for(version), version.stat().st_gid
    if not folder.parent.exists():
        folder.parent.mkdir(exist_ok=True)
        _open_to(folder.parent, modes.folder, gid)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        (aside / ANSWERS).mkdir(parents=True)
        write_text(aside / SETTINGS, text)
        _open_to(aside / SETTINGS, modes.file, gid)
        _open_to(aside / ANSWERS, modes.answers, gid)
        _open_to(aside, modes.folder, gid)
        sync_folder(aside)
        if folder.exists():
            return False
        try:
            aside.rename(folder)
        except OSError:
            if folder.exists():
                return False
            raise
        sync_folder(folder.parent)
        return True
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open_to(path: Path, mode: int, gid: int) -> None:
    with contextlib.suppress(PermissionError):  # of a group that this person is not in, it keeps the person's own
        os.chown(path, -1, gid)
    path.chmod(mode)


def _make_remote(folder: Any, text: str) -> bool:
    try:
        folder.fs.pipe_file((folder / SETTINGS).path, text.encode(), mode="create")
    except FileExistsError:
        return False
    return True


def remove_folder(folder: Place) -> None:
    """Remove a project with all answers.

    Raises
    ------
    DatasetError
        When this person may not: whose the folder is may remove what others have added to it.
    """
    try:
        if is_local(folder):
            aside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}")
            folder.rename(aside)  # gone at once
            shutil.rmtree(aside)
        else:
            remote: Any = folder
            remote.fs.rm(remote.path, recursive=True)
    except OSError as error:
        raise DatasetError(
            _("{folder} cannot be removed ({error}).", folder=folder, error=error.strerror or error),
            _("Ask its owner."),
        ) from error


def project_folders(dataset: Dataset) -> dict[str, Place]:
    """Return the folders of the projects of a dataset's name, by their own names."""
    found: dict[str, Place] = {}
    for root in project_roots(dataset):
        try:
            entries = [entry for entry in (root / FOLDER).iterdir() if _NAME.fullmatch(entry.name)]
        except (OSError, ValueError):
            continue
        found = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)} | found
    return found
