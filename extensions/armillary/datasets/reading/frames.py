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
from armillary.datasets.features import ClassLabel, Feature, arrow_schema
from armillary.datasets.reading.row_groups import row_groups_of

#: A partition's bytes, uncompressed: many row groups of a table, one or two of photographs.
PARTITION_BYTES = 32 * 2**20


def to_pandas(
    data: Dataset | str, split: str | None = None, columns: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the stored columns of a split (of all examples for ``None``) as a table.

    Classes come by name, images, sounds and videos as ``{"bytes", "path"}``; the index is the row in the version.
    """
    dataset = open_dataset(data)
    features = dataset.features_named(columns)
    table = shards.read_files(dataset.folder, dataset.manifest.shards, list(features))
    return _frame(table, features, np.arange(len(table))).iloc[dataset.rows(split)]


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
    empty = _empty(features)
    # Dask would make texts of all objects, of pictures and lists too; texts are texts already.
    with dask.config.set({"dataframe.convert-string": False}):
        if not parts:
            return dd.from_pandas(empty, npartitions=1)
        ends = [int(part[0]) for part in parts] + [int(rows[-1])]
        return dd.from_map(_partition, parts, dataset=dataset, names=list(features), meta=empty, divisions=ends)


def _parts(groups: NDArray[np.int64], rows: NDArray[np.int64], together: int) -> list[NDArray[np.int64]]:
    """Return the rows of each partition: those of so many groups that lie together."""
    if not len(rows):
        return []
    starts = np.flatnonzero(np.diff(groups // together)) + 1
    return np.split(rows, starts)


def _partition(rows: NDArray[np.int64], *, dataset: Dataset, names: list[str]) -> pd.DataFrame:
    """Return these rows; runs on a worker."""
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    features, of = dataset.features_named(names), groups.of(rows)
    tables = [groups.read(int(group), names, rows[of == group]) for group in np.unique(of)]
    return _frame(pa.concat_tables(tables), features, rows)


def _empty(features: Mapping[str, Feature]) -> pd.DataFrame:
    return _frame(arrow_schema(features).empty_table(), features, np.empty(0, np.int64))


def _frame(table: pa.Table, features: Mapping[str, Feature], rows: NDArray[np.int64]) -> pd.DataFrame:
    frame = table.to_pandas()
    for name, feature in features.items():
        if isinstance(feature, ClassLabel):
            codes = frame[name].fillna(-1).to_numpy().astype(int)
            frame[name] = pd.Categorical.from_codes(codes, list(feature.names))
    return frame.set_axis(pd.Index(rows, dtype=np.int64))
