"""What a labelling widget works on: the rows in their order, and where answers go."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Protocol

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.editing.changes import Step
from armillary.datasets.editing.edits import Edits
from armillary.datasets.labelling.answers import Answers
from armillary.datasets.labelling.project import Project
from armillary.datasets.labelling.tasks import Task

_ = translator(__file__)


class Session(Protocol):
    """One person labels rows one after the other.

    Attributes
    ----------
    rows
        In the order to label them; a widget calls them by their places in it.
    may_remove
        Whether examples can be removed.
    """

    task: Task
    dataset: Dataset
    rows: NDArray[np.int64]
    may_remove: bool

    def answer(self, row: int) -> Any:
        """Return the present answer of a row, None for none."""

    def is_done(self, row: int) -> bool:
        """Return whether this person has dealt with a row."""

    def is_removed(self, row: int) -> bool:
        """Return whether a row is removed."""

    @property
    def done(self) -> int:
        """The number of rows dealt with."""

    def give(self, row: int, answer: Any, seconds: float | None = None) -> None:
        """Answer a row."""

    def skip(self, row: int) -> None:
        """Leave a row unanswered."""

    def remove(self, row: int) -> None:
        """Remove a row, or take it back."""

    def undo(self) -> int | None:
        """Take back what was done last and return its row; None when there is nothing."""


class EditSession:
    """One person labels a version directly: each answer is a change in its edits.

    Parameters
    ----------
    edits
        Of the version.
    task
        What is labelled.
    rows
        Which, in which order.
    """

    may_remove = True

    def __init__(self, edits: Edits, task: Task, rows: NDArray[np.int64]) -> None:
        self.edits = edits
        self.dataset = edits.dataset
        self.task = task
        self.rows = rows
        self._seen: set[int] = set()
        # Row, whether it was seen before, whether it changed anything, and how many steps the edits had then.
        self._history: list[tuple[int, bool, bool, int]] = []

    def answer(self, row: int) -> Any:
        """Return the present answer of a row, None for none."""
        return self.task.answer_of(self.edits.value(row, self.task.column))

    def is_done(self, row: int) -> bool:
        """Return whether this person has dealt with a row here."""
        return row in self._seen

    def is_removed(self, row: int) -> bool:
        """Return whether a row is removed."""
        return row in self.edits.removed

    @property
    def done(self) -> int:
        """The number of rows dealt with."""
        return len(self._seen)

    def give(self, row: int, answer: Any, seconds: float | None = None) -> None:
        """Answer a row; the answer it has already is no change."""
        text = self._text(row)
        checked = self.task.checked(answer, text)
        changes = checked != self.answer(row)
        if changes:
            if self.task.column not in self.edits.features:
                self.edits.add_column(self.task.column, self.task.feature)
            self.edits.set(row, {self.task.column: self.task.value_of(checked, text)})
        self._note(row, changes)

    def skip(self, row: int) -> None:
        """Leave a row as it is."""
        self._note(row, False)

    def remove(self, row: int) -> None:
        """Remove a row, or take it back."""
        if self.is_removed(row):
            self.edits.restore(row)
        else:
            self.edits.remove(row)
        self._note(row, True)

    def _note(self, row: int, changed: bool) -> None:
        self._history.append((row, row in self._seen, changed, len(self.edits.steps)))
        self._seen.add(row)

    def undo(self) -> int | None:
        """Take back what was done last and return its row; None when there is nothing."""
        steps = len(self.edits.steps)
        while self._history and self._history[-1][3] > steps:
            self._forget()  # it was undone elsewhere
        if self._history and self._history[-1][3] == steps:
            row, changed = self._forget()
            if not changed:
                return row
        step = self.edits.undo()
        if step and self.edits.steps and self._adds_the_column(self.edits.steps[-1]):
            self.edits.undo()  # it came with the first answer
        return step[0].rows[0] if step else None

    def _forget(self) -> tuple[int, bool]:
        row, seen, changed, _steps = self._history.pop()
        if not seen:
            self._seen.discard(row)
        return row, changed

    def _adds_the_column(self, step: Step) -> bool:
        return step[0].kind == "add_column" and step[0].column == self.task.column

    def _text(self, row: int) -> Sized | None:
        """Return the text that spans are marked in, or its tokens; None where none are."""
        return self.edits.value(row, self.task.shown) or () if self.task.kind == "spans" else None


class ProjectSession:
    """A person takes part in a project.

    Parameters
    ----------
    project
        Opened by that person.
    """

    may_remove = False

    def __init__(self, project: Project) -> None:
        self.project = project
        self.dataset = project.dataset
        self.task = project.task
        self.rows = project.queue()
        self._answers = project.answers().get(project.person, Answers())
        self._history: list[tuple[int, Any, bool]] = []

    def answer(self, row: int) -> Any:
        """Return this person's own answer; those of others, and what is stored, are not shown."""
        return self._answers.given.get(row)

    def is_done(self, row: int) -> bool:
        """Return whether this person has answered or skipped a row."""
        return row in self._answers.given or row in self._answers.skipped

    def is_removed(self, row: int) -> bool:
        """Return False: nobody removes examples here."""
        return False

    @property
    def done(self) -> int:
        """The number of rows answered or skipped."""
        return len(self._answers.done)

    def give(self, row: int, answer: Any, seconds: float | None = None) -> None:
        """Answer a row."""
        checked = self.task.checked(answer)
        before = self.answer(row), row in self._answers.skipped
        self.project.answer(row, checked, seconds=seconds)
        self._history.append((row, *before))
        self._answers.take({"row": row, "answer": checked})

    def skip(self, row: int) -> None:
        """Say that this person cannot answer a row."""
        before = self.answer(row), row in self._answers.skipped
        self.project.skip(row)
        self._history.append((row, *before))
        self._answers.take({"row": row, "answer": None, "skipped": True})

    def remove(self, row: int) -> None:
        """Do nothing: nobody removes examples here."""

    def undo(self) -> int | None:
        """Take back what was done last and return its row; None when there is nothing."""
        if not self._history:
            return None
        row, answer, skipped = self._history[-1]
        if skipped:
            self.project.skip(row)
        else:
            self.project.answer(row, answer)
        self._history.pop()
        self._answers.take({"row": row, "answer": answer, "skipped": skipped})
        return row


class TieSession(ProjectSession):
    """The project's owner decides where people are divided."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self._ties = project.consensus().ties
        decided = project.decided()
        self.rows = np.array(sorted({*self._ties, *decided}), np.int64)
        self._answers = Answers(given=decided)

    def votes(self, row: int) -> dict[str, Any]:
        """Return everybody's answer to a row."""
        if row in self._ties:
            return dict(self._ties[row])
        return {who: given.given[row] for who, given in self.project.answers().items() if row in given.given}

    def give(self, row: int, answer: Any, seconds: float | None = None) -> None:
        """Decide a row."""
        before = self.answer(row)
        checked = None if answer is None else self.task.checked(answer)
        self.project.decide(row, checked)
        self._history.append((row, before, False))
        self._answers.take({"row": row, "answer": checked})

    def skip(self, row: int) -> None:
        """Leave a row undecided."""

    def undo(self) -> int | None:
        """Take back the last decision and return its row; None when there is none."""
        if not self._history:
            return None
        row, answer, _skipped = self._history[-1]
        self.project.decide(row, answer)
        self._history.pop()
        self._answers.take({"row": row, "answer": answer})
        return row
