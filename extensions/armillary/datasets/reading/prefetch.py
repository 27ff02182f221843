"""Row groups read and pictures decoded by threads, ahead of the step that needs them.

Threads suffice: libjpeg, zlib, zstd and NumPy all work without the GIL. A row group is read when its first row is
coming up and dropped after its last, so memory holds one buffer of encoded pictures and the batches under way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.media import Medium
from armillary.datasets.reading.decoding import PictureDecoder
from armillary.datasets.reading.row_groups import RowGroups
from armillary.errors import DatasetError
from armillary.inputs.pictures import BadPictureError

_ = translator(__file__)

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
#: Batches under way beside the one that the step is using.
AHEAD = 2
_MOST_THREADS = 16
_SMALLEST_TASK = 4


def usable_threads() -> int:
    """Return the threads that this process should use: its ranks' share of the machine where there are several."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return min(int(given), _MOST_THREADS)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


@dataclass(frozen=True)
class Pictures:
    """The column of pictures, the column of classes, and how a picture becomes numbers."""

    reference: str
    image: str
    target: str
    groups: RowGroups
    decoder: PictureDecoder


@dataclass(frozen=True)
class _Group:
    """The rows of one row group that are coming up, ascending."""

    rows: NDArray[np.int64]
    files: pa.Array
    labels: NDArray[np.int64]


class Prefetcher:
    """Gives the batches of ``rows``, in order, each decoded while the one before is used.

    Parameters
    ----------
    pictures
        Where they come from.
    rows
        The rows of all batches, in the order of reading.
    batch_size
        Of every batch but the last ones, which may be short or empty.
    steps
        How many batches.
    threads
        How many work at a time.
    """

    def __init__(self, pictures: Pictures, rows: NDArray[np.int64], batch_size: int, steps: int, threads: int) -> None:
        self._pictures = pictures
        self._rows = rows
        self._batch_size = batch_size
        self._steps = steps
        self._threads = threads
        self._group_of = pictures.groups.of(rows)
        self._needed = _rows_by_group(rows, self._group_of)
        self._first_uses, self._last_uses = _uses(self._group_of, batch_size)
        self._groups: dict[int, Future[_Group]] = {}

    def __iter__(self) -> Iterator[Batch]:
        executor = ThreadPoolExecutor(self._threads, "armillary-reader")
        under_way: deque[tuple[Batch, list[Future[None]]]] = deque()
        try:
            for step in range(self._steps + AHEAD):
                if step < self._steps:
                    under_way.append(self._begin(executor, step))
                if step >= AHEAD:
                    batch, tasks = under_way.popleft()
                    for task in tasks:
                        task.result()
                    self._forget(step - AHEAD)
                    yield batch
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            self._groups.clear()

    def _begin(self, executor: ThreadPoolExecutor, step: int) -> tuple[Batch, list[Future[None]]]:
        """Hand out the work of a step; the groups come before the pictures, so no picture waits for one behind it."""
        for group in self._first_uses.get(step, ()):
            self._groups[group] = executor.submit(self._read, group)
        first, last = (min(index * self._batch_size, len(self._rows)) for index in (step, step + 1))
        decoder = self._pictures.decoder
        shape = decoder.spec.prepared_shape(decoder.layout)
        batch = np.empty((last - first, *shape), np.float32), np.empty(last - first, np.int64)
        size = max(_SMALLEST_TASK, -(-(last - first) // self._threads))
        starts = range(first, last, size)
        return batch, [executor.submit(self._fill, batch, first, start, min(start + size, last)) for start in starts]

    def _read(self, group: int) -> _Group:
        pictures, rows = self._pictures, self._needed[group]
        table = pictures.groups.read(group, [pictures.image, pictures.target], rows).combine_chunks()
        labels = table.column(pictures.target).to_numpy().astype(np.int64)
        return _Group(rows, table.column(pictures.image).chunk(0), labels)

    def _fill(self, batch: Batch, first: int, start: int, end: int) -> None:
        x, y = batch
        for position in range(start, end):
            row = int(self._rows[position])
            group = self._groups[int(self._group_of[position])].result()
            index = int(np.searchsorted(group.rows, row))
            y[position - first] = group.labels[index]
            self._decode(x[position - first], group.files[index].as_py(), row)

    def _decode(self, place: NDArray[np.float32], file: dict[str, Any], row: int) -> None:
        pictures = self._pictures
        try:
            data = Medium.stored(file, pictures.groups.folder, pictures.groups.manifest.media).read()
            pictures.decoder.decode_into(place, data)
        except BadPictureError as error:
            what = _(
                "The picture {path} in row {row} of {dataset} cannot be read: {error}.",
                path=file["path"] or _("without a name"),
                row=row,
                dataset=pictures.reference,
                error=error,
            )
            raise DatasetError(what, _("Import the data anew without it.")) from error

    def _forget(self, step: int) -> None:
        for group in self._last_uses.get(step, ()):
            del self._groups[group]


def _rows_by_group(rows: NDArray[np.int64], group_of: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return the rows of each group, ascending."""
    order = np.argsort(rows)
    groups, starts = np.unique(group_of[order], return_index=True)
    ends = [*starts[1:], len(rows)]
    return {
        int(group): rows[order[start:end]]
        for group, start, end in zip(groups, starts, ends[: len(groups)], strict=True)
    }


def _uses(group_of: NDArray[np.int64], batch_size: int) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the groups that each step is the first to use, in order of use, and those it is the last to use."""
    groups, first = np.unique(group_of, return_index=True)
    _groups, last = np.unique(group_of[::-1], return_index=True)
    first_uses: dict[int, list[int]] = {}
    last_uses: dict[int, list[int]] = {}
    for index in np.argsort(first):
        first_uses.setdefault(int(first[index]) // batch_size, []).append(int(groups[index]))
        last_uses.setdefault((len(group_of) - 1 - int(last[index])) // batch_size, []).append(int(groups[index]))
    return first_uses, last_uses
