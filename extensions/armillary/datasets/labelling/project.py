"""A labelling project: several people label one version, and what comes of it."""

from __future__ import annotations

import json
import stat
import statistics
from collections.abc import Sized
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.editing.edits import Edits, edit
from armillary.datasets.labelling.agreement import Agreement, agreement
from armillary.datasets.labelling.answers import AnswerFile, Answers, read_answers
from armillary.datasets.labelling.assignment import assign, open_queue
from armillary.datasets.labelling.consensus import Consensus, majority
from armillary.datasets.labelling.project_folder import ANSWERS, SETTINGS
from armillary.datasets.labelling.settings import Settings
from armillary.datasets.labelling.tasks import Task
from armillary.datasets.places import Place, is_local
from armillary.datasets.shared_places import person
from armillary.errors import DatasetError

_ = translator(__file__)


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
    folder
        Where it lies.
    """

    def __init__(self, dataset: Dataset, settings: Settings, folder: Place) -> None:
        self.dataset = dataset
        self.settings = settings
        self.person = person()
        self.folder = folder
        mode = stat.S_IMODE((folder / SETTINGS).stat().st_mode) if is_local(folder) else 0
        self._file = AnswerFile(self.folder / ANSWERS, self.person, mode)

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
        checked = None if answer is None else self.task.checked(answer, self._text(row))
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
        checked = None if answer is None else self.task.checked(answer, self._text(row))
        self._file.add(int(row), checked, final=True)

    def _require_mine(self, row: int) -> None:
        people = self.settings.people
        if (people and self.person not in people) or row not in (self.queue() if people else self._row_set):
            raise DatasetError(
                _("Row {row} of {project} is not for {person}.", row=row, project=self.name, person=self.person),
                _("See queue() for the rows that are."),
            )

    def answers(self) -> dict[str, Answers]:
        """Return what each person has said so far, whoever is not named and files that are not theirs left out."""
        people = self.settings.people
        found = self._read()
        return {who: given for who, (given, _owned) in found.items() if who in people or (not people and given.done)}

    def _read(self) -> dict[str, tuple[Answers, bool]]:
        folder = self.folder / ANSWERS
        owner = self.folder.stat().st_uid if is_local(self.folder) else None
        try:
            return {who: (given, owned) for who, given, owned in read_answers(folder, owner, self._accept)}
        except FileNotFoundError:
            return {}  # of an object store that has none yet

    def _accept(self, row: int, answer: Any) -> Any:
        if row not in self._row_set:
            raise LookupError(row)
        return None if answer is None else self.task.checked(answer)

    @cached_property
    def _row_set(self) -> frozenset[int]:
        return frozenset(self.rows.tolist())

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
        """Return a line for each person.

        Rows ``assigned`` (None where nobody was named), ``done``, of these ``skipped``, and the median ``seconds``.
        """
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
        """Put the consensus into the edits of the version and return them, to be saved as the next.

        All labels are one step of `Edits.undo`, a new column and the rows that are removed one more each.

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
        people = ", ".join(who for who, given in sorted(self.answers().items()) if given.given)
        source = f"labelling {self.name}: {people}"
        values = [{task.column: task.value_of(answer, self._text(row))} for row, answer in agreed.items()]
        if task.column not in edits.features:
            target = unlabelled == "remove" and task.kind == "classes" and edits.target is None
            edits.add_column(task.column, task.feature, target=target)
        edits.set(list(agreed), values, source=source)
        if unlabelled == "remove":
            edits.remove(sorted({*range(len(self.dataset))} - agreed.keys()), source=source)
        return edits

    def _text(self, row: int) -> Sized | None:
        """Return the text that spans are marked in, or its tokens; None where none are."""
        if self.task.kind != "spans":
            return None
        text: Sized = self.dataset.take([row], [self.task.shown])[0][self.task.shown] or ()
        return text


def read_project(dataset: Dataset, folder: Place) -> Project | None:
    """Return the project of a folder; None where there is none that can be read."""
    try:
        settings = Settings.from_json(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
        return Project(dataset, settings, folder)
    except (OSError, ValueError, LookupError, TypeError):
        return None
