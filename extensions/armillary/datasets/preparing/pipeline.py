"""The rows of one row group on their way through the steps, one at a time wherever a step lets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Feature, Image, Sequence
from armillary.datasets.media import Medium
from armillary.datasets.plain_values import holds_media, with_media
from armillary.datasets.preparing.recipe import Recipe
from armillary.datasets.preparing.step import Bound, Form, PictureForm, Refused, Row, is_pictures
from armillary.datasets.reading.row_groups import row_groups_of
from armillary.errors import DatasetError

_ = translator(__file__)

#: Teaches steps that stand side by side, after those before them, and returns what each has learned.
Teach = Callable[["Pipeline", list[Bound]], list[Any]]


@dataclass(frozen=True)
class Pipeline:
    """The steps, each bound to its columns.

    Attributes
    ----------
    copies
        Augmented copies of each training example, beside it; 0: it is augmented itself.
    augments
        Whether training examples are augmented at all.
    """

    dataset: Dataset
    steps: tuple[Bound, ...]
    copies: int = 0
    augments: bool = True

    @property
    def form(self) -> Form:
        """The columns after all steps."""
        return self.steps[-1].after if self.steps else form_of(self.dataset)

    def rows(self, group: int, wanted: NDArray[np.int64], splits: list[str]) -> Iterator[Row | Refused]:
        """Yield what becomes of some rows of a row group.

        Parameters
        ----------
        wanted
            Their numbers in the version, ascending.
        splits
            The split of each.
        """
        stream: Iterator[Row | Refused] = self._read(group, wanted, splits)
        first = next((step.index for step in self.steps if step.step.augments), None)
        for step in self.steps:
            if step.index == first and self.augments:
                stream = self._multiplied(stream)
            stream = step.step.stream(stream, step)
        return stream

    def _read(self, group: int, wanted: NDArray[np.int64], splits: list[str]) -> Iterator[Row]:
        dataset = self.dataset
        groups = row_groups_of(dataset.folder, dataset.manifest.created)
        features = dataset.features
        rows = groups.read(group, list(features), wanted).to_pylist()
        media = [(name, feature) for name, feature in features.items() if holds_media(feature)]
        for number, split, values in zip(wanted.tolist(), splits, rows, strict=True):
            for name, feature in media:
                values[name] = with_media(feature, values[name], self._medium)
            yield Row(number, split, values)

    def _medium(self, value: dict[str, Any]) -> Medium:
        return Medium.stored(value, self.dataset.folder, self.dataset.manifest.media)

    def _multiplied(self, rows: Iterator[Row | Refused]) -> Iterator[Row | Refused]:
        """Yield training examples as they are augmented: in place, or as copies beside the unchanged one."""
        for row in rows:
            if isinstance(row, Row) and row.split == "train":
                if self.copies == 0:
                    row.augmented = True
                # A copy is made before the row itself is used up by the steps to come.
                copies = [
                    replace(row, values=dict(row.values), copy=copy, augmented=True)
                    for copy in range(1, self.copies + 1)
                ]
                yield row
                yield from copies
            else:
                yield row


def form_of(dataset: Dataset) -> Form:
    """Return the columns of a version."""
    spec = dataset.manifest.input
    known = PictureForm()
    if spec is not None and spec.kind == "image":
        height, width, channels = spec.shape
        known = PictureForm(height, width, channels)
    normalised = (spec.mean, spec.std) if spec is not None and spec.kind == "image" and spec.mean else None
    return Form(dataset.features, dataset.target, pictures_of(dataset.features, known), normalised)


def pictures_of(features: Mapping[str, Feature], known: PictureForm | None = None) -> dict[str, PictureForm]:
    """Return what is known of the pictures in each column; of lists of them, nothing is."""
    columns = {name: feature for name, feature in features.items() if is_pictures(feature)}
    unknown = PictureForm()
    return {name: unknown if isinstance(feature, Sequence) else known or unknown for name, feature in columns.items()}


def bound(dataset: Dataset, recipe: Recipe, seed: int, teach: Teach) -> tuple[Bound, ...]:
    """Return the steps bound to their columns, and taught.

    Steps that learn about different columns, and stand side by side, learn together.

    Raises
    ------
    DatasetError
        When a step does not fit the columns that it finds.
    """
    ready: list[Bound] = []
    waiting: list[Bound] = []

    def flush() -> None:
        for step, learned in zip(waiting, teach(Pipeline(dataset, tuple(ready)), waiting), strict=True):
            before = ready[-1].after if ready else form_of(dataset)
            ready.append(replace(step, before=before, learned=learned))
        waiting.clear()

    for index, (step, learned) in enumerate(zip(recipe.steps, recipe.learned, strict=True)):
        to_learn = step.learns and learned is None
        if waiting and not (to_learn and _side_by_side(waiting, step.columns)):
            flush()
        form = waiting[0].before if waiting else ready[-1].after if ready else form_of(dataset)
        columns = step.columns_of(form)
        if waiting and not _side_by_side(waiting, columns):
            flush()
            form = ready[-1].after
            columns = step.columns_of(form)
        place = Bound(step, index, columns, form, seed, learned)
        if learned is not None:
            step.check_learned(place)
        (waiting if to_learn else ready).append(place)
    if waiting:
        flush()
    if ready:
        _check_normalised(ready[-1].after)
    return tuple(ready)


def _check_normalised(form: Form) -> None:
    """Raise DatasetError where pictures have other channels than those that readers are to normalise."""
    numbers = len(form.normalised[0]) if form.normalised is not None else 0
    channels = {form.pictures[name].channels for name in form.of(Image) if form.pictures[name].height is not None}
    if numbers and channels and numbers not in channels:
        raise DatasetError(
            _("Pictures with channels: {n} cannot be normalised by numbers for {m}.", n=min(channels), m=numbers),
            _("Put normalise behind the steps that change channels."),
        )


def _side_by_side(waiting: list[Bound], columns: tuple[str, ...]) -> bool:
    """Return whether columns exist and stay as they are while the waiting steps work on theirs."""
    busy = {column for step in waiting for column in step.columns}
    there = all(column in waiting[0].before.features for column in columns)
    return there and busy.isdisjoint(columns) and not any(step.step.adds_columns for step in waiting)


def check_copies(pipeline: Pipeline) -> None:
    """Raise DatasetError when there are to be augmented copies, but nothing augments."""
    if pipeline.copies and not any(step.step.augments for step in pipeline.steps):
        what = _("copies is {n}, but no step of the recipe augments.", n=pipeline.copies)
        raise DatasetError(what, _("Leave it out, or add a step such as flip."))
