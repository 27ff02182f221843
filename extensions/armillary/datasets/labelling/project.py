"""Labelling projects: what is labelled, by whom, and what they said.

A project lies in the store, below the dataset's name: ``<store>/<name>/.labelling/<project>/``, with its settings in
``project.json``, which never change, and ``answers/``, where each person has a file of their own.

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
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.durable_files import sync_folder, write_text
from armillary.datasets.editing.edits import Edits, edit
from armillary.datasets.labelling.agreement import Agreement, agreement
from armillary.datasets.labelling.answers import AnswerFile, Answers, read_answers
from armillary.datasets.labelling.assignment import assign, open_queue
from armillary.datasets.labelling.consensus import Consensus, majority
from armillary.datasets.labelling.tasks import Task
from armillary.datasets.places import Place, is_local
from armillary.datasets.saving import person
from armillary.errors import DatasetError

_ = translator(__file__)

FOLDER = ".labelling"
SETTINGS = "project.json"
FORMAT_VERSION = 1
_ANSWERS = "answers"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Settings:
    """What a project is; it never changes.

    Attributes
    ----------
    dataset
        The version that is labelled, such as ``"birds@3"``.
    people
        Who labels; empty for everyone who may read the dataset.
    overlap
        By how many people each row is labelled.
    rows
        Which rows, None for all.
    """

    name: str
    dataset: str
    task: Task
    people: tuple[str, ...]
    overlap: int
    rows: tuple[int, ...] | None
    seed: int
    owner: str
    created: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        rows = None if self.rows is None else list(self.rows)
        listed = {"people": list(self.people), "rows": rows, "task": self.task.to_json()}
        return {"format_version": FORMAT_VERSION, **values, **listed}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings that ``to_json`` described."""
        if values["format_version"] != FORMAT_VERSION:
            raise ValueError(values["format_version"])
        rows = None if values["rows"] is None else tuple(values["rows"])
        typed = {"people": tuple(values["people"]), "rows": rows, "task": Task.from_json(values["task"])}
        return cls(**{name: value for name, value in values.items() if name != "format_version"} | typed)


class Project:
    """Several people label one version; see `create`.

    Attributes
    ----------
    dataset
        The version that is labelled.
    settings
        What the project is.
    person
        Who is labelling here.
    """

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self.dataset = dataset
        self.settings = settings
        self.person = person()
        self._folder = dataset.folder.parent / FOLDER / settings.name
        mode = _modes(dataset.folder).file if is_local(dataset.folder) else 0
        self._file = AnswerFile(self._folder / _ANSWERS, self.person, mode)

    def __repr__(self) -> str:
        done = sum(self.progress()["done"])
        return f"<Project {self.name} of {self.dataset.reference}: {self.task.column}, {done:,} answers>"

    @property
    def name(self) -> str:
        """The project's name."""
        return self.settings.name

    @property
    def task(self) -> Task:
        """What is labelled."""
        return self.settings.task

    @property
    def is_owner(self) -> bool:
        """Whether this person made the project, and so decides where people are divided."""
        return self.person == self.settings.owner

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are labelled."""
        given = self.settings.rows
        return np.arange(len(self.dataset)) if given is None else np.array(given, np.int64)

    @cached_property
    def _assigned(self) -> dict[str, NDArray[np.int64]]:
        return assign(self.rows.tolist(), self.settings.people, self.settings.overlap, self.settings.seed)

    def queue(self, of: str | None = None) -> NDArray[np.int64]:
        """Return the rows that a person is to label, in order, those that are done included.

        Where nobody was named, those that this person did and those that too few others have done yet.
        """
        who = of or self.person
        if self.settings.people:
            return self._assigned.get(who, np.empty(0, np.int64))
        answers = self.answers()
        own = sorted(answers[who].done) if who in answers else []
        done = {name: found.done for name, found in answers.items()}
        left = open_queue(self.rows.tolist(), who, done, self.settings.overlap, self.settings.seed)
        return np.concatenate([np.array(own, np.int64), left])

    # Answers ------------------------------------------------------------------------------------------

    def answer(self, row: int, answer: Any, *, seconds: float | None = None) -> None:
        """Give this person's answer to a row; a later one stands for the earlier, None takes it back.

        Raises
        ------
        DatasetError
            When the row is none of this person's, the answer is none, or it cannot be written.
        """
        self._require_mine(row)
        checked = None if answer is None else self.task.checked(answer)
        self._file.add(int(row), checked, **({} if seconds is None else {"seconds": round(seconds, 1)}))

    def skip(self, row: int) -> None:
        """Say that this person cannot or will not answer a row."""
        self._require_mine(row)
        self._file.add(int(row), None, skipped=True)

    def decide(self, row: int, answer: Any) -> None:
        """End a tie with the answer that counts; None leaves it to the majority again. For the project's owner.

        Raises
        ------
        DatasetError
            When this person is not the owner.
        """
        if not self.is_owner:
            raise DatasetError(
                _("{person} does not decide in {project}.", person=self.person, project=self.name),
                _("Ask {owner}, who made it.", owner=self.settings.owner),
            )
        self._file.add(int(row), None if answer is None else self.task.checked(answer), final=True)

    def _require_mine(self, row: int) -> None:
        people = self.settings.people
        if (people and self.person not in people) or row not in (self.queue() if people else self.rows):
            raise DatasetError(
                _("Row {row} of {project} is not for {person}.", row=row, project=self.name, person=self.person),
                _("See queue() for the rows that are."),
            )

    def answers(self) -> dict[str, Answers]:
        """Return what each person has said so far, whoever is not named and files that are not theirs left out."""
        people = self.settings.people
        found = self._read()
        return {who: given for who, (given, _owned) in found.items() if not people or who in people}

    def _read(self) -> dict[str, tuple[Answers, bool]]:
        folder = self._folder / _ANSWERS
        owner = self._folder.stat().st_uid if is_local(self._folder) else None
        try:
            return {who: (given, owned) for who, given, owned in read_answers(folder, owner)}
        except FileNotFoundError:
            return {}  # of an object store that has none yet

    def decided(self) -> dict[int, Any]:
        """Return what the owner has decided, by row."""
        given, owned = self._read().get(self.settings.owner, (Answers(), False))
        return dict(given.final) if owned else {}

    def to_pandas(self) -> pd.DataFrame:
        """Return all answers: a line for each person and row, with ``answer`` and ``seconds``."""
        lines = [
            (who, row, answer, given.seconds.get(row))
            for who, given in self.answers().items()
            for row, answer in sorted(given.given.items())
        ]
        return pd.DataFrame(lines, columns=["person", "row", "answer", "seconds"])

    def progress(self) -> pd.DataFrame:
        """Return a line for each person: rows ``assigned`` (None where nobody was named), ``done``, of these
        ``skipped``, and the median ``seconds`` per row."""
        answers = self.answers()
        lines = []
        for who in sorted({*self.settings.people, *answers}):
            given = answers.get(who, Answers())
            assigned = len(self._assigned[who]) if self.settings.people else None
            median = statistics.median(given.seconds.values()) if given.seconds else None
            lines.append((who, assigned, len(given.done), len(given.skipped), median))
        return pd.DataFrame(lines, columns=["person", "assigned", "done", "skipped", "seconds"])

    # What comes of them -------------------------------------------------------------------------------

    def agreement(self) -> Agreement:
        """Return how far people agree."""
        return agreement(self.task.kind, {who: given.given for who, given in self.answers().items()})

    def consensus(self, at_least: int | None = None) -> Consensus:
        """Return what people say together, with ties, and what was decided about them.

        Parameters
        ----------
        at_least
            How many people must have answered a row, or skipped it; ``overlap`` by default.
        """
        answers, decided = self.answers(), self.decided()
        needed = self.settings.overlap if at_least is None else at_least
        agreed: dict[int, Any] = {}
        ties: dict[int, dict[str, Any]] = {}
        unfinished = []
        for row in map(int, self.rows):
            given = {who: found.given[row] for who, found in answers.items() if row in found.given}
            if row in decided:
                agreed[row] = decided[row]
            elif not given or sum(row in found.done for found in answers.values()) < needed:
                unfinished.append(row)
            else:
                answer, tie = majority(self.task.kind, list(given.values()))
                if tie:
                    ties[row] = given
                else:
                    agreed[row] = answer
        return Consensus(agreed, ties, tuple(unfinished))

    def to_edits(self, *, at_least: int | None = None, unlabelled: str = "keep") -> Edits:
        """Put the consensus into the edits of the version, as one step, and return them, to be saved as the next.

        Parameters
        ----------
        at_least
            As in `consensus`.
        unlabelled
            ``"keep"`` rows without a consensus as they are, or ``"remove"`` them. With ``"remove"``, a new column of
            classes becomes the target where there is none. A new column has to be saved under another name.

        Raises
        ------
        DatasetError
            When there is no consensus on any row yet, or an answer does not fit.
        """
        if unlabelled not in ("keep", "remove"):
            raise DatasetError(_("unlabelled is {value!r}.", value=unlabelled), _('Use "keep" or "remove".'))
        agreed = self.consensus(at_least).answers
        if not agreed:
            raise DatasetError(
                _("There is no consensus in {project} yet.", project=self.name),
                _("Let more people answer, or lower at_least."),
            )
        edits = edit(self.dataset)
        task = self.task
        if task.column not in edits.features:
            target = unlabelled == "remove" and task.kind == "classes" and edits.target is None
            edits.add_column(task.column, task.feature, target=target)
        people = ", ".join(who for who, given in sorted(self.answers().items()) if given.given)
        source = f"labelling {self.name}: {people}"
        values = [{task.column: self._value(row, answer)} for row, answer in agreed.items()]
        edits.set(list(agreed), values, source=source)
        if unlabelled == "remove":
            edits.remove(sorted({*range(len(self.dataset))} - agreed.keys()), source=source)
        return edits

    def _value(self, row: int, answer: Any) -> Any:
        if self.task.unit != "token" or self.task.kind != "spans":
            return self.task.value_of(answer)
        return self.task.value_of(answer, len(self.dataset.take([row], [self.task.shown])[0][self.task.shown] or ()))


# Making and finding projects --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Modes:
    """Modes below a dataset's folder: of folders to enter, of the folder to add files to, and of these."""

    folder: int
    answers: int
    file: int


def _modes(version: Path) -> _Modes:
    """Return the modes that let exactly those take part who may read the version."""
    mode = version.stat().st_mode
    group, others = mode & 0o050 == 0o050, mode & 0o005 == 0o005
    return _Modes(
        0o700 | group * 0o2050 | others * 0o005,
        0o1700 | group * 0o2070 | others * 0o007,
        0o600 | group * 0o040 | others * 0o004,
    )


def make_project(dataset: Dataset, settings: Settings) -> Project:
    """Write the settings of a new project: whole, or not at all.

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
    folder = dataset.folder.parent / FOLDER / settings.name
    text = json.dumps(settings.to_json(), indent=1, ensure_ascii=False)
    try:
        made = _make_local(folder, text, dataset.folder) if is_local(folder) else _make_remote(folder, text)
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
    return Project(dataset, settings)


def _make_local(folder: Path, text: str, version: Path) -> bool:
    modes, gid = _modes(version), version.stat().st_gid
    if not folder.parent.exists():
        folder.parent.mkdir(exist_ok=True)
        _open_to(folder.parent, modes.folder, gid)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        (aside / _ANSWERS).mkdir(parents=True)
        write_text(aside / SETTINGS, text)
        _open_to(aside / SETTINGS, modes.file, gid)
        _open_to(aside / _ANSWERS, modes.answers, gid)
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


def read_project(dataset: Dataset, name: str) -> Project | None:
    """Return a project of a dataset's name by its own name; None where there is none that can be read."""
    path = dataset.folder.parent / FOLDER / name / SETTINGS
    try:
        return Project(dataset, Settings.from_json(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def project_names(folder: Place) -> list[str]:
    """Return the names of the projects below a dataset's folder ``<store>/<name>``."""
    try:
        found = [entry.name for entry in (folder / FOLDER).iterdir() if _NAME.fullmatch(entry.name)]
    except (OSError, ValueError):
        return []
    return sorted(found)


def new_settings(
    dataset: Dataset,
    name: str,
    task: Task,
    people: Sequence[str],
    overlap: int,
    rows: Iterable[int] | None,
    seed: int,
) -> Settings:
    """Return the settings of a new project, checked.

    Raises
    ------
    DatasetError
        When more people are to label each row than there are, or a row is none.
    """
    named = tuple(dict.fromkeys(who.strip() for who in people if who.strip()))
    if not isinstance(overlap, int) or overlap < 1 or (named and overlap > len(named)):
        raise DatasetError(
            _("{overlap} people cannot label each example: {n} are named.", overlap=overlap, n=len(named)),
            _("Name more people, or let fewer label each."),
        )
    numbers = None if rows is None else tuple(sorted({int(row) for row in rows}))
    if numbers is not None and (not numbers or numbers[0] < 0 or numbers[-1] >= len(dataset)):
        raise DatasetError(
            _("{reference} has not all of these rows.", reference=dataset.reference),
            _("Rows are numbered from 0 to {last}.", last=len(dataset) - 1),
        )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Settings(name, dataset.reference, task, named, overlap, numbers, seed, person(), created)
