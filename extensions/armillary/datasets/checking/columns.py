"""The leaves of a dataset's columns: what is nested in a column is checked part by part.

A struct is as many leaves as it has parts, a translation one for each language; a list is one leaf, whose values are
looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from armillary.datasets.features import MEDIA, ClassLabel, Feature, Sequence, Struct, Translation, Value
from armillary.datasets.kinds import TEXT


@dataclass(frozen=True)
class Leaf:
    """A column, or a part of one.

    Attributes
    ----------
    name
        As a person reads it, such as ``"translation.zh"``.
    path
        The column and the parts within.
    language
        The language that was declared for its texts, if any.
    """

    name: str
    path: tuple[str, ...]
    feature: Feature
    language: str | None = None

    def values(self, table: pa.Table) -> pa.Array:
        """Return its values in a row group."""
        column = table.column(self.path[0]).combine_chunks()
        for part in self.path[1:]:
            column = pc.struct_field(column, part)
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

    def missing(self, values: pa.Array) -> NDArray[np.bool_]:
        """Tell of each value of a row group whether it is missing.

        So are NaN, texts of white space alone, and lists of nothing but such texts, or without any image, sound or
        video; a list of numbers may well be empty.
        """
        return _missing(values, self.feature)


def _missing(values: pa.Array, feature: Feature) -> NDArray[np.bool_]:
    if isinstance(feature, Sequence) and (is_text(feature) or is_media(feature)):
        there = np.zeros(len(values), bool)
        parents = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)
        there[parents[~_missing(pc.list_flatten(values), feature.feature)]] = True
        return ~there
    missing = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))
    if isinstance(feature, ClassLabel):
        missing = pc.or_(missing, pc.fill_null(pc.less(values, 0), False))
    elif is_text(feature):
        words = pc.utf8_trim_whitespace(values.cast(pa.large_string()))
        missing = pc.or_(missing, pc.fill_null(pc.equal(words, ""), False))
    found: NDArray[np.bool_] = missing.to_numpy(zero_copy_only=False)
    return found


def leaves(features: Mapping[str, Feature]) -> list[Leaf]:
    """Return the leaves of all columns."""
    return [leaf for name, feature in features.items() for leaf in _leaves((name,), feature)]


def _leaves(path: tuple[str, ...], feature: Feature) -> Iterator[Leaf]:
    if isinstance(feature, Struct):
        for name, part in feature.parts:
            yield from _leaves((*path, name), part)
    elif isinstance(feature, Translation) and not feature.variable:
        for language in sorted(feature.languages):
            yield Leaf(".".join((*path, language)), (*path, language), Value("string"), language)
    elif isinstance(feature, Translation):
        yield Leaf(".".join(path), (*path, "translation"), Sequence(Value("string")))
    else:
        yield Leaf(".".join(path), path, feature)


def innermost(feature: Feature) -> Feature:
    """Return the feature of the values in a list, or in a list of lists."""
    return innermost(feature.feature) if isinstance(feature, Sequence) else feature


def is_text(feature: Feature) -> bool:
    """Tell whether a leaf holds text, or a list of words or texts."""
    inner = innermost(feature)
    return isinstance(inner, Value) and inner.dtype in TEXT


def is_media(feature: Feature) -> bool:
    """Tell whether a leaf holds images, sounds or videos."""
    return isinstance(innermost(feature), tuple(MEDIA.values()))
