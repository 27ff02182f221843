"""Batches of examples of any kind: the columns that were asked for, each read as its feature says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Feature, Image
from armillary.datasets.media import Medium
from armillary.datasets.names import one_or_several
from armillary.datasets.reading.columns import Column, Media, column_of
from armillary.datasets.reading.decoding import PictureDecoder
from armillary.datasets.reading.row_groups import RowGroups, row_groups_of
from armillary.errors import DatasetError

_ = translator(__file__)

Batch = dict[str, list[Any]]


@dataclass(frozen=True)
class ColumnBatches:
    """Columns of a dataset (`prefetch.Work`).

    Attributes
    ----------
    inputs
        The columns of ``x``; one alone is ``x`` itself where ``bare`` says so.
    target
        The column that is ``y``; None: batches are ``x`` alone.
    """

    reference: str
    groups: RowGroups
    readers: Mapping[str, Column]
    inputs: tuple[str, ...]
    target: str | None
    bare: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(self.readers)

    def begin(self, examples: int) -> Batch:
        """Return a place for each value."""
        return {name: [None] * examples for name in self.readers}

    def fill(self, batch: Batch, index: int, values: Mapping[str, pa.Scalar], row: int) -> None:
        """Decode the values of an example into their places.

        Raises
        ------
        DatasetError
            When one of them is missing or damaged.
        """
        for name, reader in self.readers.items():
            try:
                batch[name][index] = reader.decode(values[name])
            except DatasetError:
                raise
            except Exception as error:  # decoders of pictures, sounds and videos raise many kinds
                what = _(
                    "{column!r} in row {row} of {dataset} cannot be read: {error}.",
                    column=name,
                    row=row,
                    dataset=self.reference,
                    error=error,
                )
                remedy = _("Leave the column out with columns=, or save the dataset without this example.")
                raise DatasetError(what, remedy) from error

    def finish(self, batch: Batch) -> Any:
        """Return ``(x, y)``, or ``x`` alone."""
        x: Any = {name: self.readers[name].collate(batch[name]) for name in self.inputs}
        x = x[self.inputs[0]] if self.bare else x
        return x if self.target is None else (x, self.readers[self.target].collate(batch[self.target]))


def column_batches(
    dataset: Dataset,
    columns: str | Sequence[str] | None,
    frames: int,
    decoder: PictureDecoder | None,
    channels_first: bool,
) -> ColumnBatches:
    """Return the reader of some columns of a dataset.

    Parameters
    ----------
    columns
        One by its name, several as a list of names; None: all but the target, which is ``y`` unless it is named here.
    frames
        How many are taken of a video.
    decoder
        Of images in the form that models take, where the dataset has one.

    Raises
    ------
    DatasetError
        When there is no such column, or it has no form as a tensor.
    """
    inputs = _inputs(dataset, columns)
    target = dataset.target if dataset.target not in inputs else None
    groups = row_groups_of(dataset.folder, dataset.manifest.created)

    def medium(value: dict[str, Any]) -> Medium:
        return Medium.stored(value, dataset.folder, dataset.manifest.media)

    first_image = next((name for name, feature in dataset.features.items() if isinstance(feature, Image)), None)
    readers = {}
    for name in (*inputs, *([target] if target is not None else [])):
        formed = decoder if name == first_image else None
        readers[name] = _reader(dataset, name, Media(formed, channels_first, frames, medium))
    bare = isinstance(columns, str) or (columns is None and len(inputs) == 1)
    return ColumnBatches(dataset.reference, groups, readers, inputs, target, bare)


def _inputs(dataset: Dataset, columns: str | Sequence[str] | None) -> tuple[str, ...]:
    if columns is None:
        return tuple(name for name in dataset.features if name != dataset.target)
    chosen = one_or_several(columns)
    if not chosen:
        what = _("No column is to be read; columns: {listed}.", listed=", ".join(map(repr, dataset.features)))
        raise DatasetError(what, _("Name one or several of these."))
    return tuple(dataset.features_named(chosen))


def _reader(dataset: Dataset, name: str, media: Media) -> Column:
    feature: Feature = dataset.features[name]
    try:
        return column_of(feature, media)
    except ValueError as error:
        what = _(
            "Column {name!r} of {dataset} cannot be read in batches: {error}.",
            name=name,
            dataset=dataset.reference,
            error=error,
        )
        raise DatasetError(what, _("Name the columns to read: columns=[…].")) from error
