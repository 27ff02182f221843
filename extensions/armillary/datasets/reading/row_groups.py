"""Where the row groups of a version lie, and the rows of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from armillary.datasets.manifest import Manifest, read_manifest
from armillary.datasets.places import Place, is_local
from armillary.datasets.verified_files import verified_file

#: What the rows of a buffer may take, all ranks together: 16 row groups of 256 photographs of 64 KiB.
BUFFER_BYTES = 256 * 2**20


@dataclass(frozen=True)
class RowGroups:
    """The row groups of all shards of a version, in order; each is read by itself.

    Attributes
    ----------
    shard, index
        Of each group, the number of its shard and its number in there.
    starts
        The first row of each group.
    bytes
        All of them, uncompressed.
    """

    folder: Place
    manifest: Manifest
    footers: tuple[Any, ...]
    shard: tuple[int, ...]
    index: tuple[int, ...]
    starts: NDArray[np.int64]
    bytes: int

    @cached_property
    def buffer(self) -> int:
        """The number of rows whose bytes fill a buffer."""
        return max(1, BUFFER_BYTES * self.manifest.examples // max(1, self.bytes))

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def rows(self, group: int) -> NDArray[np.int64]:
        """Return the rows of a group, as numbered in the version."""
        first = int(self.starts[group])
        return np.arange(first, first + self.footer(group).num_rows)

    def footer(self, group: int) -> Any:
        """Return what the shard's end says of a group: a ``pyarrow.parquet.RowGroupMetaData``."""
        return self.footers[self.shard[group]].row_group(self.index[group])

    def read(
        self, group: int, columns: Sequence[str], rows: NDArray[np.int64] | None = None, *, verify: bool = True
    ) -> pa.Table:
        """Return a row group, or only some of its ``rows`` (as numbered in the version).

        ``verify=False`` is for looking, where a person waits: the shard, which may have 256 MiB or be far away, is not
        read whole to compare its hash.

        Raises
        ------
        DatasetError
            When its shard is missing or its bytes are not those that were saved.
        """
        shard = self.shard[group]
        if verify or is_local(self.folder):
            table = self._read_here(shard, self.index[group], columns, verify)
        else:
            with (self.folder / self.manifest.shards[shard].file).open("rb") as opened:
                table = _read(opened, self.footers[shard], self.index[group], columns)
        return table if rows is None or len(rows) == len(table) else table.take(rows - self.starts[group])

    def _read_here(self, shard: int, index: int, columns: Sequence[str], verify: bool) -> pa.Table:
        file = self.manifest.shards[shard]
        path = verified_file(self.folder, file) if verify else Path(self.folder / file.file)
        try:
            return _read(path, self.footers[shard], index, columns, memory_map=True)
        except (OSError, pa.ArrowException):
            verified_file(self.folder, file)  # says what is wrong
            raise


def statistics_of(group: Any, column: str) -> Any:
    """Return what a footer says of a column of plain values in a row group, None for another column."""
    for index in range(group.num_columns):
        if group.column(index).path_in_schema == column:
            return group.column(index).statistics
    return None


def _read(source: Any, footer: Any, index: int, columns: Sequence[str], memory_map: bool = False) -> pa.Table:
    with pq.ParquetFile(source, metadata=footer, memory_map=memory_map) as parquet:
        return parquet.read_row_group(index, columns=list(columns), use_threads=False)


@lru_cache(maxsize=8)
def row_groups_of(folder: Place, saved: str) -> RowGroups:
    """Return the row groups of a version; ``saved`` (its time of saving) tells a re-made store from the old one.

    Only the ends of the shards are read here; each shard is checked when the first of its groups is read.
    """
    manifest = read_manifest(folder)
    footers = tuple(_footer(folder, manifest, shard) for shard in range(len(manifest.shards)))
    places = [(shard, index) for shard, footer in enumerate(footers) for index in range(footer.num_row_groups)]
    groups = [footers[shard].row_group(index) for shard, index in places]
    ends = np.cumsum([0, *(group.num_rows for group in groups)], dtype=np.int64)
    return RowGroups(
        folder,
        manifest,
        footers,
        tuple(shard for shard, _index in places),
        tuple(index for _shard, index in places),
        ends[:-1],
        sum(group.total_byte_size for group in groups),
    )


def _footer(folder: Place, manifest: Manifest, shard: int) -> Any:
    file = manifest.shards[shard]
    try:
        with (folder / file.file).open("rb") as opened:
            return pq.read_metadata(opened)
    except (OSError, pa.ArrowException):
        return pq.read_metadata(verified_file(folder, file))  # which says what is wrong
