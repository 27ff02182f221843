"""Examples as Parquet shards: row groups of about 256 examples, each shard hashed as it is written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.durable_files import copy, new_file, sha256_of
from armillary.datasets.manifest import StoredFile
from armillary.errors import DatasetError

_ = translator(__file__)

ROW_GROUP = 256
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
            with pq.ParquetWriter(pa.PythonFile(file, "w"), schema, compression="zstd") as writer:
                while batch is not None and file.tell() < SHARD_BYTES:
                    writer.write_batch(batch, row_group_size=len(batch))
                    rows += len(batch)
                    batch = next(remaining, None)
            shards.append(file.commit(rows))
    return tuple(shards)


def link_shards(folder: Path, source: Path, shards: Sequence[StoredFile]) -> tuple[StoredFile, ...]:
    """Give ``folder`` the shards of another version; immutable files are shared rather than copied where possible."""
    for shard in shards:
        try:
            os.link(source / shard.file, folder / shard.file)
        except OSError:
            copy(source / shard.file, folder / shard.file)
    return tuple(shards)


def write_split(folder: Path, names: Sequence[str], codes: NDArray[np.int64]) -> StoredFile:
    """Write which split each row belongs to: ``codes`` index ``names``."""
    column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(names), pa.string()))
    with new_file(folder / SPLIT_FILE) as file:
        pq.write_table(pa.table({"split": column}), pa.PythonFile(file, "w"), compression="zstd")
        return file.commit(len(codes))


def read_files(folder: Path, files: Sequence[StoredFile], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of verified Parquet files, in order.

    Raises
    ------
    DatasetError
        When a file is missing or its bytes are not those that were saved.
    """
    for file in files:
        _verify(folder, file)
    return pa.concat_tables(pq.read_table(folder / file.file, columns=columns, memory_map=True) for file in files)


def _verify(folder: Path, file: StoredFile) -> None:
    path = folder / file.file
    try:
        status = path.stat()
        found = _hash_once(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        what = _("{path} cannot be read: {reason}.", path=path, reason=error.strerror)
        raise DatasetError(what, _("Restore it from a backup.")) from error
    if found != file.sha256:
        raise DatasetError(
            _("{path} is damaged: its SHA-256 is not the one in the manifest.", path=path),
            _("Restore the file from a backup or import the data anew."),
        )


@cache
def _hash_once(path: Path, inode: int, size: int, changed: int) -> str:
    """Hash a file once per process, and again when it changed."""
    return sha256_of(path)


def read_values(folder: Path, files: Sequence[StoredFile], column: str, rows: Sequence[int]) -> list[bytes]:
    """Return the bytes of single pictures, reading no more than the row groups they lie in."""
    found: dict[int, bytes] = {}
    wanted = np.unique(np.asarray(rows, np.int64))
    first = 0
    for file in files:
        here = wanted[(wanted >= first) & (wanted < first + file.rows)] - first
        if len(here):
            _verify(folder, file)
            values = _values_of_rows(folder / file.file, column, here)
            found.update({first + int(row): value for row, value in zip(here, values, strict=True)})
        first += file.rows
    return [found[int(row)] for row in rows]


def _values_of_rows(path: Path, column: str, rows: NDArray[np.int64]) -> list[bytes]:
    with pq.ParquetFile(path) as parquet:
        sizes = [parquet.metadata.row_group(index).num_rows for index in range(parquet.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        groups = np.searchsorted(starts, rows, side="right") - 1
        needed = np.unique(groups)
        offsets = dict(zip(needed.tolist(), np.cumsum([0, *(sizes[group] for group in needed[:-1])]), strict=True))
        values = parquet.read_row_groups(needed.tolist(), columns=[column]).column(column)
    return [
        values[int(offsets[group] + row - starts[group])].as_py()["bytes"]
        for row, group in zip(rows, groups, strict=True)
    ]
