"""A version as tables: of pandas, all of it at once, or of Dask, one row group after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from armillary.datasets import shards
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import ClassLabel, Feature, Value
from armillary.datasets.reading.row_groups import row_groups_of, statistics_of
from armillary.datasets.schemas import arrow_schema

#: A partition's bytes, uncompressed: many row groups of a table, one or two of photographs.
PARTITION_BYTES = 32 * 2**20
_WHOLE, _EXACT_FLOAT = ("int64", "uint64"), 2**53
_NULLABLE: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}


def to_pandas(
    data: Dataset | str, split: str | None = None, columns: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the stored columns of a split (of all examples for ``None``) as a table.

    Classes come by name, images, sounds and videos as ``{"bytes", "path"}``; the index is the row in the version. Whole
    numbers with missing ones among them are floats, as ever in pandas; where these cannot hold them, ``Int64``.
    """
    dataset = open_dataset(data)
    features = dataset.features_named(columns)
    table = shards.read_files(dataset.folder, dataset.manifest.shards, list(features))
    return _frame(table, features, np.arange(len(table)), _exact(dataset, features)).iloc[dataset.rows(split)]


def to_dask(data: Dataset | str, split: str | None = None, columns: str | Sequence[str] | None = None) -> Any:
    """Return a ``dask.dataframe.DataFrame`` of what `to_pandas` gives, of which nothing is read yet.

    A partition is some row groups that lie together; its worker reads no others. A split's partitions are those that
    have any of it, and the divisions are known, for the index is the row in the version.
    """
    import dask
    import dask.dataframe as dd

    dataset = open_dataset(data)
    features = dataset.features_named(columns)
    rows = dataset.rows(split)
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    parts = _parts(groups.of(rows), rows, max(1, PARTITION_BYTES * len(groups.starts) // max(1, groups.bytes)))
    exact = _exact(dataset, features)
    empty = _frame(arrow_schema(features).empty_table(), features, np.empty(0, np.int64), exact)
    # Dask would make texts of all objects, of pictures and lists too; texts are texts already.
    with dask.config.set({"dataframe.convert-string": False}):
        if not parts:
            return dd.from_pandas(empty, npartitions=1)
        ends = [int(part[0]) for part in parts] + [int(rows[-1])]
        return dd.from_map(
            _partition, parts, dataset=dataset, names=list(features), exact=exact, meta=empty, divisions=ends
        )


def _parts(groups: NDArray[np.int64], rows: NDArray[np.int64], together: int) -> list[NDArray[np.int64]]:
    """Return the rows of each partition: those of so many groups that lie together."""
    if not len(rows):
        return []
    starts = np.flatnonzero(np.diff(groups // together)) + 1
    return np.split(rows, starts)


def _partition(rows: NDArray[np.int64], *, dataset: Dataset, names: list[str], exact: tuple[str, ...]) -> pd.DataFrame:
    """Return these rows; runs on a worker."""
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    features, of = dataset.features_named(names), groups.of(rows)
    tables = [groups.read(int(group), names, rows[of == group]) for group in np.unique(of)]
    return _frame(pa.concat_tables(tables), features, rows, exact)


def _exact(dataset: Dataset, features: Mapping[str, Feature]) -> tuple[str, ...]:
    """Return the columns of whole numbers that floats would change: some are missing, others have too many digits."""
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    footers = [groups.footer(group) for group in range(len(groups.starts))]
    found = []
    for name, feature in features.items():
        if isinstance(feature, Value) and feature.dtype in _WHOLE:
            known = [each for each in (statistics_of(footer, name) for footer in footers) if each is not None]
            large = any(each.has_min_max and max(-each.min, each.max) > _EXACT_FLOAT for each in known)
            if large and any(each.null_count for each in known):
                found.append(name)
    return tuple(found)


def _frame(
    table: pa.Table, features: Mapping[str, Feature], rows: NDArray[np.int64], exact: tuple[str, ...]
) -> pd.DataFrame:
    frame = table.to_pandas()
    for name in exact:
        frame[name] = table[name].to_pandas(types_mapper=_NULLABLE.get)
    for name, feature in features.items():
        if isinstance(feature, ClassLabel):
            codes = frame[name].fillna(-1).to_numpy().astype(int)
            frame[name] = pd.Categorical.from_codes(codes, list(feature.names))
    return frame.set_axis(pd.Index(rows, dtype=np.int64))
