"""Examples as Parquet shards: row groups of about 256 examples, each shard hashed as it is written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from armillary.datasets.durable_files import copy, new_file
from armillary.datasets.manifest import StoredFile
from armillary.datasets.places import Place
from armillary.datasets.verified_files import sized_file, verified_file

ROW_GROUP = 256
#: A row group ends before 256 rows where they are large.
ROW_GROUP_BYTES = 64 * 2**20
SHARD_BYTES = 256 * 2**20
SPLIT_FILE = "split.parquet"


def write_shards(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> tuple[StoredFile, ...]:
    """Write ``batches`` (one row group each) into as many shards as their size asks for."""
    remaining = iter(batches)
    shards: list[StoredFile] = []
    batch = next(remaining, None)
    while batch is not None:
        with new_file(folder / f"shard-{len(shards):05d}.parquet") as file:
            rows = 0
            with shard_writer(file, schema) as writer:
                while batch is not None and file.tell() < SHARD_BYTES:
                    writer.write_batch(batch, row_group_size=len(batch))
                    rows += len(batch)
                    batch = next(remaining, None)
            shards.append(file.commit(rows))
    return tuple(shards)


def shard_writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Return what writes a shard into an open file, by the one set of settings: equal rows give equal bytes."""
    return pq.ParquetWriter(pa.PythonFile(file, "w"), schema, compression="zstd")


def link_files(folder: Path, source: Place, files: Sequence[StoredFile]) -> tuple[StoredFile, ...]:
    """Give ``folder`` files of another version; immutable files are shared rather than copied where possible.

    Raises
    ------
    DatasetError
        When one is missing or not as long as it was.
    """
    for file in files:
        link_file(sized_file(source, file), folder / file.file)
    return tuple(files)


def link_file(path: Path, new: Path) -> None:
    """Let a file have a second name; where that is not possible, copy it."""
    new.parent.mkdir(exist_ok=True)
    try:
        os.link(path, new)
    except OSError:
        copy(path, new)


def write_split(folder: Path, names: Sequence[str], codes: NDArray[np.int64]) -> StoredFile:
    """Write which split each row belongs to: ``codes`` index ``names``."""
    column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(names), pa.string()))
    with new_file(folder / SPLIT_FILE) as file:
        pq.write_table(pa.table({"split": column}), pa.PythonFile(file, "w"), compression="zstd")
        return file.commit(len(codes))


def read_files(folder: Place, files: Sequence[StoredFile], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of verified Parquet files, in order.

    Raises
    ------
    DatasetError
        When a file is missing or its bytes are not those that were saved.
    """
    paths = [verified_file(folder, file) for file in files]
    return pa.concat_tables(pq.read_table(path, columns=columns, memory_map=True) for path in paths)


def row_groups(folder: Place, files: Sequence[StoredFile], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of verified Parquet files, one row group at a time."""
    for file in files:
        with pq.ParquetFile(verified_file(folder, file), memory_map=True) as parquet:
            for index in range(parquet.num_row_groups):
                yield parquet.read_row_group(index, columns=columns)


def read_values(folder: Place, files: Sequence[StoredFile], column: str, rows: Sequence[int]) -> list[Any]:
    """Return one column of single rows, reading no more than the row groups they lie in."""
    found: dict[int, Any] = {}
    wanted = np.unique(np.asarray(rows, np.int64))
    first = 0
    for file in files:
        here = wanted[(wanted >= first) & (wanted < first + file.rows)] - first
        if len(here):
            values = _values_of_rows(verified_file(folder, file), column, here)
            found.update({first + int(row): value for row, value in zip(here, values, strict=True)})
        first += file.rows
    return [found[int(row)] for row in rows]


def _values_of_rows(path: Path, column: str, rows: NDArray[np.int64]) -> list[Any]:
    with pq.ParquetFile(path) as parquet:
        sizes = [parquet.metadata.row_group(index).num_rows for index in range(parquet.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        groups = np.searchsorted(starts, rows, side="right") - 1
        needed = np.unique(groups)
        offsets = dict(zip(needed.tolist(), np.cumsum([0, *(sizes[group] for group in needed[:-1])]), strict=True))
        values = parquet.read_row_groups(needed.tolist(), columns=[column]).column(column)
    return [values[int(offsets[group] + row - starts[group])].as_py() for row, group in zip(rows, groups, strict=True)]
