"""Editing one version: what is changed, taken back, kept through a crash, and saved as the next version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Listed
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.editing.changes import NO_ROW, Change, Overlay, Step, step_from_json, step_to_json
from armillary.datasets.editing.journal import Journal, Unsaved, unsaved
from armillary.datasets.editing.summary import Summary
from armillary.datasets.editing.values import checked_rows, one_for_each, shown_value, stored_values
from armillary.datasets.editing.writing import NetChanges, content_of
from armillary.datasets.features import ClassLabel, Feature
from armillary.datasets.saving import save
from armillary.datasets.schemas import checked_features
from armillary.datasets.store import find
from armillary.errors import DatasetError

_ = translator(__file__)

Rows = int | Iterable[int]


class Edits:
    """The changes to one version that are not saved yet; see `edit`.

    Rows are called by their numbers in that version throughout, however many of them are removed. Every change is on
    this person's disk before the call returns. One call is one step of `undo`.

    Attributes
    ----------
    dataset
        The version that is edited, which itself never changes.
    """

    def __init__(self, dataset: Dataset, journal: Journal) -> None:
        self.dataset = dataset
        self._journal = journal
        self._overlay = Overlay()
        self._listeners: list[Callable[[], None]] = []
        for entry in journal.read():
            self._replay(entry)

    def _replay(self, entry: Mapping[str, Any]) -> None:
        if "undo" in entry:
            self._overlay.undo()
        elif "redo" in entry:
            self._overlay.redo()
        else:
            self._overlay.do(step_from_json(entry["do"]))

    def __repr__(self) -> str:
        return f"<Edits of {self.dataset.reference}: {self.summary}>"

    # What there is ------------------------------------------------------------------------------------

    @property
    def features(self) -> dict[str, Feature]:
        """The typed columns, added ones too."""
        return self.dataset.features | {name: feature for name, (feature, _target) in self._overlay.added.items()}

    @property
    def target(self) -> str | None:
        """The column with the class."""
        added = [name for name, (_feature, is_target) in self._overlay.added.items() if is_target]
        return added[0] if added else self.dataset.target

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the target; none without one."""
        feature = self.features.get(self.target or "")
        return feature.names if isinstance(feature, ClassLabel) else ()

    @property
    def removed(self) -> frozenset[int]:
        """The rows that will be left out."""
        return frozenset(self._overlay.removed)

    @property
    def steps(self) -> list[Step]:
        """The steps that stand, oldest first, as plain data."""
        return self._overlay.done

    @property
    def is_behind(self) -> bool:
        """Whether another kernel has begun to change the version since this one looked."""
        return self._journal.is_anothers

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._overlay.done)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back last."""
        return self._overlay.last_undone is not None

    @property
    def summary(self) -> Summary:
        """What is changed, all told."""
        net = self.net_changes()
        counts = {name: len(rows) for name, rows in net.values.items() if name not in net.added}
        relabelled = counts.pop(self.dataset.target or "", 0)
        return Summary(relabelled, len(net.removed), len(net.splits), counts, tuple(net.added))

    def net_changes(self) -> NetChanges:
        """Return what the steps come to."""
        return NetChanges.of(self.dataset, self._overlay)

    def value(self, row: int, column: str | None = None) -> Any:
        """Return the present value of a row's column (the target by default), as `Dataset.take` gives it."""
        column = column or self._target()
        changed = self._overlay.values.get(column, {})
        if row in changed:
            return shown_value(self.features[column], changed[row])
        return self.dataset.take([row], [column])[0][column] if column in self.dataset.features else None

    # What is done -------------------------------------------------------------------------------------

    def relabel(self, rows: Rows, labels: Any, *, source: str = "") -> None:
        """Give rows another class.

        Parameters
        ----------
        rows
            One row number or several.
        labels
            A class, by name or index, for all of them, or a list with one for each.
        source
            Who or what says so, which the saved version's recipe keeps.

        Raises
        ------
        DatasetError
            When there is no such row or class, the dataset has no target, or the journal cannot be written.
        """
        target, numbers = self._target(), checked_rows(self.dataset, rows)
        given = one_for_each(labels, numbers)
        stored = stored_values(self, numbers, [{target: label} for label in given])
        self._do(_by_value(target, numbers, [one[target] for one in stored], source))

    def set(self, rows: Rows, values: Mapping[str, Any] | Listed[Mapping[str, Any]], *, source: str = "") -> None:
        """Give columns of rows a value: boxes, labels of words, a text, a number; None for a missing one.

        Parameters
        ----------
        rows
            One row number or several.
        values
            The value of each column, for all of the rows, or a list with one such mapping for each row.
        source
            Who or what says so.

        Raises
        ------
        DatasetError
            When a value does not fit its column, or the column holds images, sounds or videos.
        """
        numbers = checked_rows(self.dataset, rows)
        stored = stored_values(self, numbers, one_for_each(values, numbers))
        step: list[Change] = []
        for name in dict.fromkeys(name for one in stored for name in one):
            given = [(row, one[name]) for row, one in zip(numbers, stored, strict=True) if name in one]
            step += _by_value(name, [row for row, _value in given], [value for _row, value in given], source)
        self._do(tuple(step))

    def remove(self, rows: Rows, *, source: str = "") -> None:
        """Leave rows out."""
        self._do((Change("remove", checked_rows(self.dataset, rows), "", True, source),))

    def restore(self, rows: Rows, *, source: str = "") -> None:
        """Take rows back that were removed."""
        self._do((Change("remove", checked_rows(self.dataset, rows), "", False, source),))

    def move(self, rows: Rows, split: str, *, source: str = "") -> None:
        """Move rows to a split, such as ``"test"``."""
        if not isinstance(split, str) or not split.strip() or not split.isprintable():
            raise DatasetError(_("{split!r} names no split.", split=split), _("Give one, such as 'test'."))
        self._do((Change("move", checked_rows(self.dataset, rows), "", split, source),))

    def add_column(self, name: str, feature: Feature, *, target: bool = False) -> None:
        """Add a column, missing in every row until it is set.

        As a version of one name has the same columns as the others, it has to be saved under another name.

        Parameters
        ----------
        target
            Make it the column with the class; then every row that is not removed needs a value.

        Raises
        ------
        DatasetError
            When the name or the feature is none, there is such a column or, for a target, it has no classes or there is
            a target already.
        """
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(_("{name!r} names no column.", name=name), _("Choose another name."))
        if name in self.features:
            raise DatasetError(_("There is a column {name!r} already.", name=name), _("Choose another name."))
        if target and (self.target is not None or not isinstance(feature, ClassLabel)):
            raise DatasetError(
                _("{name!r} cannot be the target of {reference}.", name=name, reference=self.dataset.reference),
                _("A target has classes, and a dataset has one target at most."),
            )
        described = checked_features({name: feature})[name].to_json()
        self._do((Change("add_column", (NO_ROW,), name, {"feature": described, "target": target}),))

    def apply(self, suggestions: Iterable[Any], *, source: str = "check") -> int:
        """Do what a check suggests, as one step; return how many suggestions changed something.

        Parameters
        ----------
        suggestions
            Each a row number, an action (``"relabel"``, ``"remove"``, ``"keep"``) and a value (the class for
            ``"relabel"``, else None): a tuple, or anything with ``row``, ``action`` and ``value``.

        Raises
        ------
        DatasetError
            When one cannot be done; then none is.
        """
        wanted = [_suggestion(one) for one in suggestions]
        relabelled = [(row, value) for row, action, value in wanted if action == "relabel"]
        gone = [row for row, action, _value in wanted if action == "remove"]
        step: list[Change] = []
        if relabelled:
            target, numbers = self._target(), checked_rows(self.dataset, [row for row, _value in relabelled])
            stored = stored_values(self, numbers, [{target: value} for _row, value in relabelled])
            step += _by_value(target, numbers, [one[target] for one in stored], source)
        if gone:
            step.append(Change("remove", checked_rows(self.dataset, gone), "", True, source))
        self._do(tuple(step))
        return len(relabelled) + len(gone)

    def undo(self) -> Step | None:
        """Take the last step back and return it; None when there is none."""
        if not self._overlay.done:
            return None
        self._journal.append({"undo": 1})
        step = self._overlay.undo()
        self._tell()
        return step

    def redo(self) -> Step | None:
        """Do again what was taken back last and return it; None when there is nothing."""
        if self._overlay.last_undone is None:
            return None
        self._journal.append({"redo": 1})
        step = self._overlay.redo()
        self._tell()
        return step

    def discard(self) -> None:
        """Forget all changes."""
        self._journal.discard()
        self._overlay = Overlay()
        self._tell()

    def save(self, name: str | None = None, progress: Callable[[int, int], None] | None = None) -> Dataset:
        """Save the changes as the next version and return it; without changes, the version as it is.

        Changes to a dataset that another person shares are saved in one's own store.

        Shards in which nothing changed are shared with the parent, the others are written again, one row group in
        memory at a time. The same changes give the same bytes.

        Parameters
        ----------
        name
            Of the dataset, that of the version edited by default.
        progress
            Called with the number of examples done and of all.

        Raises
        ------
        DatasetError
            When the version edited is gone, no example is left, or nothing can be written. The changes stay.
        """
        _require_present(self.dataset, self._journal)
        if not self.summary and name in (None, self.dataset.name):
            if self._journal.is_begun:  # changes that come to nothing must not stay as unsaved ones
                self.discard()
            return self.dataset
        content = content_of(self.dataset, self.net_changes(), self.features, self.target, self.steps, progress)
        saved = Dataset(save(name or self.dataset.name, content, self.dataset.store))
        self.discard()
        return saved

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every change; returns a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _do(self, step: Step) -> None:
        step = tuple(change for change in step if change.rows)
        if not step:
            return
        self._journal.append({"do": step_to_json(step, self.features)})
        self._overlay.do(step)
        self._tell()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _target(self) -> str:
        if self.target is None:
            raise DatasetError(
                _("{dataset} has no column with the class.", dataset=self.dataset.reference),
                _("Add one with add_column(name, ClassLabel(...), target=True)."),
            )
        return self.target


def _by_value(column: str, rows: Listed[int], values: Listed[Any], source: str) -> Step:
    """Return changes for rows with a value each; rows with the same value in one."""
    grouped: dict[str, tuple[list[int], Any]] = {}
    for row, value in zip(rows, values, strict=True):
        grouped.setdefault(repr(value), ([], value))[0].append(row)
    return tuple(Change("set", tuple(numbers), column, value, source) for numbers, value in grouped.values())


def _suggestion(given: Any) -> tuple[int, str, Any]:
    try:
        row, action, value = given if isinstance(given, (tuple, list)) else (given.row, given.action, given.value)
    except (AttributeError, ValueError):
        row, action, value = None, None, None
    if action not in ("relabel", "remove", "keep"):
        raise DatasetError(
            _("{suggestion!r} is no suggestion.", suggestion=given),
            _('Give (row, action, value) with the action "relabel", "remove" or "keep".'),
        )
    return int(np.asarray(row)), str(action), value


_OPEN: WeakValueDictionary[str, Edits] = WeakValueDictionary()


def edit(dataset: Dataset | str) -> Edits:
    """Begin or go on to edit a version; its changes that were not saved are there again.

    In one process, every call for the same version returns the same object.

    Raises
    ------
    DatasetError
        When there is no such version (any more), or another notebook edits it.

    Examples
    --------
    >>> edits = datasets.edit("birds@3")
    >>> edits.relabel([17, 40], "crow")
    >>> edits.remove(99)
    >>> edits.save()
    <Dataset birds@4: …>
    """
    opened = _opened(dataset)
    store = opened.folder.parent.parent
    journal = Journal.of(store, opened.reference, opened.manifest)
    _require_present(opened, journal)
    key = f"{journal.file} {opened.manifest.created}"
    edits = _OPEN.get(key)
    if edits is None or edits.is_behind:
        edits = _OPEN[key] = Edits(opened, journal)
    return edits


def _opened(dataset: Dataset | str) -> Dataset:
    try:
        return open_dataset(dataset)
    except DatasetError as error:
        kept = [found.file for found in unsaved() if found.reference == dataset and "@" in found.reference]
        if kept:
            raise DatasetError(_gone(error, str(kept[0])), error.remedy) from error
        raise


def _require_present(dataset: Dataset, journal: Journal) -> None:
    try:
        find(dataset.folder.parent.parent, f"{dataset.name}@{dataset.version}")
    except DatasetError as error:
        what = _gone(error, str(journal.file)) if journal.file.exists() else error.what
        raise DatasetError(what, error.remedy) from error


def _gone(error: DatasetError, kept: str) -> str:
    return _("{reason} Changes to it that were not saved are kept in {file}.", reason=error.what, file=kept)


def unsaved_edits() -> list[Unsaved]:
    """Return this person's changes that are not saved yet, of every version and store."""
    return list(unsaved())
