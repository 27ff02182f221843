"""How the values of a column are distributed: numbers, lengths of texts, sizes of images, durations, labels."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from armillary_kernels.texts import translator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from armillary.datasets.browse.filters import plain_texts
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import (
    MEDIA,
    Audio,
    Boxes,
    ClassLabel,
    Feature,
    Image,
    Sequence,
    TokenLabels,
    Translation,
    Value,
    Video,
)
from armillary.datasets.media import Medium, duration
from armillary.datasets.reading.row_groups import RowGroups, row_groups_of
from armillary.errors import DatasetError
from armillary.inputs import pictures

_ = translator(__file__)

#: How many values are looked at; of media fewer, for each has to be opened.
SAMPLE = 50_000
MEDIA_SAMPLE = 2_000
BINS = 20
#: More different whole numbers than this are put into bins.
_FEW = 24
#: From here on, there is no float between two whole numbers.
_HALVES_END = 2.0**52
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """The distribution of a column.

    Attributes
    ----------
    column
        Its name.
    measure
        What was measured: ``"value"``, ``"characters"``, ``"pixels"`` (of the longer side), ``"seconds"``,
        ``"boxes"``, ``"items"`` or ``"class"``.
    counts
        How many values lie in each bin.
    edges
        The bins' borders, one more than bins; empty for classes.
    names
        Of the classes; empty for numbers.
    missing
        How many of those looked at have no value.
    looked_at, examples
        How many examples were looked at, of how many; if not all, whole row groups from all over the dataset.
    """

    column: str
    measure: str
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    missing: int = 0
    looked_at: int = 0
    examples: int = 0


def has_histogram(feature: Feature) -> bool:
    """Return whether there is something to count in a column."""
    return _measure(feature) is not None


def histogram(dataset: Dataset | str, column: str, *, sample: int | None = None) -> Histogram:
    """Return how the values of a column are distributed.

    Parameters
    ----------
    dataset
        An opened dataset or a reference such as ``"digits@1"``.
    column
        A column of numbers, texts, classes, lists, images, sounds, videos, labels of tokens, boxes or translations.
    sample
        About how many examples are looked at; 50,000 unless given, 2,000 of media.

    Raises
    ------
    DatasetError
        When there is no such column or nothing in it to count, or a shard is missing or damaged.
    """
    dataset = open_dataset(dataset)
    feature = dataset.features.get(column)
    if feature is None:
        what = _("{dataset} has no column {column!r}.", dataset=dataset.reference, column=column)
        raise DatasetError(what, _("There are: {names}.", names=", ".join(dataset.features)))
    measure = _measure(feature)
    if measure is None:
        names = ", ".join(name for name, kind in dataset.features.items() if has_histogram(kind))
        what = _("In column {column!r} there is nothing to count.", column=column)
        raise DatasetError(what, _("There is in: {names}.", names=names))
    return _measured(dataset, column, feature, measure, sample)


def _measured(dataset: Dataset, column: str, feature: Feature, measure: Measure, sample: int | None) -> Histogram:
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    chosen = _spread(groups, sample or (MEDIA_SAMPLE if _is_medium(feature) else SAMPLE), len(dataset))
    parts: list[Numbers] = [np.empty(0)]
    missing = looked_at = 0
    for group in chosen:
        values = _one_array(groups.read(group, [column], verify=False)[column])
        looked_at += len(values)
        present = values.drop_null()
        parts.append(_of_media(dataset, feature, present) if _is_medium(feature) else measure.of(present))
        missing += values.null_count
    found = np.concatenate(parts)
    known = found[np.isfinite(found)] if measure.name != "class" else found[found >= 0]
    missing += len(found) - len(known)
    seen: dict[str, Any] = {"missing": missing, "looked_at": looked_at, "examples": len(dataset)}
    if isinstance(feature, (ClassLabel, TokenLabels)):
        counted = np.bincount(known.astype(np.int64), minlength=len(feature.names))
        return Histogram(column, "class", tuple(counted.tolist()), names=feature.names, **seen)
    counts, edges = _binned(known)
    return Histogram(column, measure.name, counts, edges, **seen)


def _spread(groups: RowGroups, sample: int, examples: int) -> list[int]:
    """Return row groups from all over the dataset with about so many examples."""
    number = len(groups.starts)
    wanted = number if sample >= examples else max(1, round(number * sample / examples))
    return np.unique(np.linspace(0, number - 1, wanted).astype(int)).tolist() if number else []


def _one_array(column: pa.ChunkedArray) -> Any:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _is_medium(feature: Feature) -> bool:
    return isinstance(feature, tuple(MEDIA.values()))


@dataclass(frozen=True)
class Measure:
    """What is measured of a column: its name, and what makes numbers of an Arrow array without nulls."""

    name: str
    of: Callable[[Any], Numbers]


def _measure(feature: Feature) -> Measure | None:
    """Return what is measured of a column, None where there is nothing."""
    if isinstance(feature, Value):
        if "string" in feature.dtype:
            return Measure("characters", lambda texts: _floats(pc.utf8_length(plain_texts(texts))))
        numeric = feature.dtype.startswith(("int", "uint", "float", "bool", "decimal"))
        return Measure("value", _floats) if numeric else None
    kinds: dict[type, Measure] = {
        ClassLabel: Measure("class", _floats),
        TokenLabels: Measure("class", lambda lists: _floats(pc.list_flatten(lists))),
        Boxes: Measure("boxes", lambda boxes: _floats(pc.list_value_length(pc.struct_field(boxes, "category")))),
        Sequence: Measure("items", lambda lists: _floats(pc.list_value_length(lists))),
        Translation: Measure("characters", _lengths_of_translations),
        Image: Measure("pixels", _floats),
        Audio: Measure("seconds", _floats),
        Video: Measure("seconds", _floats),
    }
    return kinds.get(type(feature))


def _floats(values: Any) -> Numbers:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    numbers: Numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _lengths_of_translations(pairs: Any) -> Numbers:
    names = [field.name for field in pairs.type]
    if names == ["language", "translation"] and pa.types.is_list(pairs.type.field("translation").type):
        return _floats(pc.utf8_length(pc.list_flatten(pc.struct_field(pairs, "translation"))))
    return np.concatenate([_floats(pc.utf8_length(pc.struct_field(pairs, name).drop_null())) for name in names])


def _of_media(dataset: Dataset, feature: Feature, values: Any) -> Numbers:
    """Return the sizes or durations of media, NaN of those that are damaged."""
    media = [Medium.stored(value, dataset.folder, dataset.manifest.media) for value in values.to_pylist()]
    if isinstance(feature, Image):
        found = [_longer_side(medium) for medium in media]
    else:
        found = [duration(feature, medium) for medium in media if isinstance(feature, (Audio, Video))]
    return np.asarray([np.nan if number is None else number for number in found], np.float64)


def _longer_side(medium: Medium) -> float | None:
    try:
        with PillowImage.open(io.BytesIO(medium.read()), formats=pictures.FORMATS) as picture:
            return float(max(picture.size))
    except Exception:  # a damaged one has no size; Pillow raises many kinds
        return None


def _binned(values: Numbers) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return counts and borders: of few different whole numbers one bin each, else of twenty equal parts."""
    if not len(values):
        return (), ()
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.round(values)).all())
    if low == high or (whole and high - low < _FEW and max(-low, high) < _HALVES_END):
        edges = np.arange(low - 0.5, high + 1) if abs(low) < _HALVES_END else np.nextafter(low, (-np.inf, np.inf))
    elif np.isfinite(high - low):
        edges = np.linspace(low, high, BINS + 1)
    else:
        edges = np.linspace(low / 2, high / 2, BINS + 1) * 2
    counts, edges = np.histogram(values, edges)
    return tuple(int(count) for count in counts), tuple(float(edge) for edge in edges)
