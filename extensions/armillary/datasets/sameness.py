"""Which examples are the same, or of the same group: a number for each row, equal where they belong together.

Values are compared by 64-bit hashes: two that differ are taken for the same once in many billions, and then merely come
into the same split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from armillary.datasets.features import MEDIA, Feature
from armillary.datasets.kinds import kinds_of

Units = NDArray[np.int64]
_MEDIA = tuple(MEDIA.values())
_NOTHING = "\0"


class RowKeys:
    """Takes a hash of some columns of each row as its batch goes by.

    Parameters
    ----------
    features
        The columns that are compared. Images, sounds and videos are compared by their bytes.
    missing_apart
        Rows without any of these values belong to nobody.
    """

    def __init__(self, features: Mapping[str, Feature], *, missing_apart: bool = False) -> None:
        self._features = dict(features)
        self._missing_apart = missing_apart
        self._hashes: list[NDArray[np.uint64]] = []
        self._missing: list[NDArray[np.bool_]] = []

    @property
    def columns(self) -> list[str]:
        """The columns that are compared."""
        return list(self._features)

    def noting(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on and note their rows."""
        for batch in batches:
            self.add(pa.Table.from_batches([batch]))
            yield batch

    def add(self, rows: pa.Table) -> None:
        """Note some rows."""
        rows = rows.combine_chunks()
        combined = np.zeros(len(rows), np.uint64)
        missing = np.ones(len(rows), bool)
        for name, feature in self._features.items():
            column = rows.column(name).chunk(0) if len(rows) else pa.array([], feature.arrow_type)
            combined = combined * np.uint64(1_000_003) ^ _hashes(feature, column)
            missing &= column.is_null().to_numpy(zero_copy_only=False)
        self._hashes.append(combined)
        self._missing.append(missing)

    def units(self) -> Units:
        """Return a number for each row ``(n,)``, from 0 in the order of their first rows."""
        if not self._hashes:
            return np.empty(0, np.int64)
        codes = pd.factorize(np.concatenate(self._hashes))[0].astype(np.int64)
        if self._missing_apart:
            apart = np.concatenate(self._missing)
            codes[apart] = codes.max(initial=0) + 1 + np.arange(apart.sum())
        return codes


def keeps_duplicates(features: Mapping[str, Feature], target: str | None) -> bool:
    """Return whether examples that look the same are the same, as pictures, sounds and texts are.

    In a table of a few numbers and categories, different examples may look alike.
    """
    return kinds_of(features, target) != ("table",)


def duplicate_keys(features: Mapping[str, Feature], target: str | None) -> RowKeys:
    """Return the keys of examples that are the same in all but their class."""
    return RowKeys({name: feature for name, feature in features.items() if name != target})


def _hashes(feature: Feature, column: pa.Array) -> NDArray[np.uint64]:
    if isinstance(feature, _MEDIA):
        return _of_each(column, _medium_bytes)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return _of_each(column, _nested_bytes)
    texts = pc.fill_null(column.cast(pa.string()), _NOTHING).to_numpy(zero_copy_only=False)
    return pd.util.hash_array(texts.astype(object), categorize=False)


def _of_each(column: pa.Array, as_bytes: Any) -> NDArray[np.uint64]:
    hashed = (hashlib.blake2b(as_bytes(value), digest_size=8).digest() for value in column)
    return np.frombuffer(b"".join(hashed), np.uint64)


def _medium_bytes(value: pa.Scalar) -> bytes:
    if not value.is_valid:
        return _NOTHING.encode()
    return value["bytes"].as_py() or str(value["path"]).encode()  # a long one is named by its hash


def _nested_bytes(value: pa.Scalar) -> bytes:
    """Return the bytes of a value; of numbers in a list those in memory, which is quick for large arrays."""
    if value.is_valid and isinstance(value, pa.ListScalar) and pa.types.is_primitive(value.type.value_type):
        return value.values.to_numpy(zero_copy_only=False).tobytes()
    return repr(value.as_py()).encode()


def joined(*ways: Units) -> Units:
    """Return the units of rows that belong together in any of these ways, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, offsets = len(ways[0]), np.cumsum([len(ways[0]), *(way.max(initial=-1) + 1 for way in ways)])
    ends = np.concatenate([way + offset for way, offset in zip(ways, offsets, strict=False)])
    starts = np.tile(np.arange(rows), len(ways))
    size = int(offsets[-1])
    graph = coo_array((np.ones(len(ends), np.int8), (starts, ends)), shape=(size, size))
    _number, component = connected_components(graph, directed=False)
    return pd.factorize(component[:rows])[0].astype(np.int64)


def unit_rows(units: Units) -> list[Units]:
    """Return the rows of each unit that has several, ascending."""
    order = np.argsort(units, kind="stable")
    parts: Sequence[Units] = np.split(order, np.flatnonzero(np.diff(units[order])) + 1)
    return [part for part in parts if len(part) > 1]
