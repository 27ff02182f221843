"""How the values of a column are distributed: numbers, lengths of texts, sizes of images, durations, labels."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import (
    MEDIA,
    Audio,
    Boxes,
    ClassLabel,
    Feature,
    Image,
    Struct,
    TokenLabels,
    Translation,
    Value,
    Video,
)
from armillary.datasets.features import Sequence as SequenceFeature
from armillary.datasets.media import Medium, duration
from armillary.datasets.reading.row_groups import RowGroups, row_groups_of
from armillary.errors import DatasetError

_ = translator(__file__)

#: How many values are looked at; of media fewer, for each has to be opened.
SAMPLE = 100_000
MEDIA_SAMPLE = 2_000
BINS = 20
#: More different whole numbers than this are put into bins.
_FEW = 24


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
        About how many examples are looked at; 100,000 unless given, 2,000 of media.

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


def _measured(
    dataset: Dataset, column: str, feature: Feature, measure: tuple[str, Callable[[Any], Any]], sample: int | None
) -> Histogram:
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    is_medium = isinstance(feature, tuple(MEDIA.values()))
    chosen = _spread(groups, sample or (MEDIA_SAMPLE if is_medium else SAMPLE), len(dataset))
    stored = lambda value: Medium.stored(value, dataset.folder, dataset.manifest.media)  # noqa: E731
    found: list[Any] = []
    missing = looked_at = 0
    for value in _values(groups, chosen, column):
        looked_at += 1
        numbers = [] if value is None else measure[1](stored(value) if is_medium else value)
        missing += value is None or (not numbers and isinstance(feature, Value))
        found += numbers
    seen = {"missing": missing, "looked_at": looked_at, "examples": len(dataset)}
    names = _names(feature)
    if names:
        counted = Counter(found)
        absent = {"missing": missing + counted.pop(-1, 0)}
        return Histogram(column, "class", tuple(counted[i] for i in range(len(names))), names=names, **seen | absent)
    counts, edges = _binned(np.asarray(found, np.float64))
    return Histogram(column, measure[0], counts, edges, **seen)


def _spread(groups: RowGroups, sample: int, examples: int) -> list[int]:
    """Return row groups from all over the dataset with about so many examples."""
    number = len(groups.starts)
    wanted = number if sample >= examples else max(1, round(number * sample / examples))
    return np.unique(np.linspace(0, number - 1, wanted).astype(int)).tolist() if number else []


def _values(groups: RowGroups, chosen: Sequence[int], column: str) -> Iterator[Any]:
    for group in chosen:
        yield from groups.read(group, [column], verify=False)[column].to_pylist()


def _names(feature: Feature) -> tuple[str, ...]:
    return feature.names if isinstance(feature, (ClassLabel, TokenLabels)) else ()


def _measure(feature: Feature) -> tuple[str, Callable[[Any], list[Any]]] | None:
    """Return what is measured of a stored value, and how: each value gives some numbers."""
    if isinstance(feature, Value):
        if "string" in feature.dtype:
            return "characters", lambda value: [len(value)]
        numeric = feature.dtype.startswith(("int", "uint", "float", "bool", "decimal"))
        return ("value", lambda value: [float(value)] if value == value else []) if numeric else None
    kinds: Mapping[type, tuple[str, Callable[[Any], list[Any]]]] = {
        ClassLabel: ("class", lambda value: [value]),
        TokenLabels: ("class", list),
        Boxes: ("boxes", lambda value: [len(value["category"])]),
        SequenceFeature: ("items", lambda value: [len(value)]),
        Translation: ("characters", _lengths_of_translations),
        Image: ("pixels", _longer_side),
        Audio: ("seconds", _seconds(Audio())),
        Video: ("seconds", _seconds(Video())),
    }
    return None if isinstance(feature, Struct) else kinds.get(type(feature))


def _lengths_of_translations(value: Mapping[str, Any]) -> list[int]:
    texts = value["translation"] if set(value) == {"language", "translation"} else value.values()
    return [len(text) for text in texts if isinstance(text, str)]


def _longer_side(medium: Medium) -> list[int]:
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(io.BytesIO(medium.read())) as picture:
            return [max(picture.size)]
    except Exception:  # a damaged one has no size; Pillow raises many kinds
        return []


def _seconds(feature: Audio | Video) -> Callable[[Medium], list[float]]:
    def measured(medium: Medium) -> list[float]:
        seconds = duration(feature, medium)
        return [] if seconds is None else [seconds]

    return measured


def _binned(values: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return counts and borders: of few different whole numbers one bin each, else of twenty equal parts."""
    values = values[np.isfinite(values)]
    if not len(values):
        return (), ()
    low, high = values.min(), values.max()
    whole = bool((values == np.round(values)).all())
    if low == high or (whole and high - low < _FEW):
        edges = np.arange(low - 0.5, high + 1)
    else:
        edges = np.linspace(low, high, BINS + 1)
    counts, edges = np.histogram(values, edges)
    return tuple(int(count) for count in counts), tuple(float(edge) for edge in edges)
