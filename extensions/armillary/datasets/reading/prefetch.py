"""Row groups read and examples decoded by threads, ahead of the step that needs them.

Threads suffice: libjpeg, zlib, zstd, FFmpeg, libsndfile and NumPy all work without the GIL. A row group is read when
its first row is coming up and dropped after its last, so memory holds one buffer of encoded examples and the batches
under way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from armillary.datasets.reading.row_groups import RowGroups

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


class Work(Protocol):
    """How the examples of a step become a batch; its methods are called by several threads."""

    @property
    def groups(self) -> RowGroups:
        """Where the examples lie."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that are read."""

    def begin(self, examples: int) -> Any:
        """Return where the examples of a step are put."""

    def fill(self, batch: Any, index: int, values: Mapping[str, pa.Scalar], row: int) -> None:
        """Put an example, the row of the version, at its place there."""

    def finish(self, batch: Any) -> Any:
        """Return the batch of which every place is filled."""


@dataclass(frozen=True)
class _Group:
    """The rows of one row group that are coming up, ascending, and their columns."""

    rows: NDArray[np.int64]
    columns: Mapping[str, pa.Array]


class Prefetcher:
    """Gives the batches of ``rows``, in order, each made while the one before is used.

    Parameters
    ----------
    work
        Where the examples come from, and what is made of them.
    rows
        The rows of all batches, in the order of reading.
    batch_size
        Of every batch but the last ones, which may be short or empty.
    steps
        How many batches.
    threads
        How many work at a time.
    """

    def __init__(self, work: Work, rows: NDArray[np.int64], batch_size: int, steps: int, threads: int) -> None:
        self._work = work
        self._rows = rows
        self._batch_size = batch_size
        self._steps = steps
        self._threads = threads
        self._group_of = work.groups.of(rows)
        self._needed = _rows_by_group(rows, self._group_of)
        self._first_uses, self._last_uses = _uses(self._group_of, batch_size)
        self._groups: dict[int, Future[_Group]] = {}

    def __iter__(self) -> Iterator[Any]:
        executor = ThreadPoolExecutor(self._threads, "armillary-reader")
        under_way: deque[Future[Any]] = deque()
        try:
            for step in range(self._steps + AHEAD):
                if step < self._steps:
                    under_way.append(self._begin(executor, step))
                if step >= AHEAD:
                    batch = under_way.popleft().result()
                    self._forget(step - AHEAD)
                    yield batch
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            self._groups.clear()

    def _begin(self, executor: ThreadPoolExecutor, step: int) -> Future[Any]:
        """Hand out the work of a step: its groups, its examples, its end. So no task waits for one behind it."""
        for group in self._first_uses.get(step, ()):
            self._groups[group] = executor.submit(self._read, group)
        first, last = (min(index * self._batch_size, len(self._rows)) for index in (step, step + 1))
        batch = self._work.begin(last - first)
        size = max(_SMALLEST_TASK, -(-(last - first) // self._threads))
        starts = range(first, last, size)
        tasks = [executor.submit(self._fill, batch, first, start, min(start + size, last)) for start in starts]
        return executor.submit(self._finish, batch, tasks)

    def _read(self, group: int) -> _Group:
        rows = self._needed[group]
        table = self._work.groups.read(group, self._work.columns, rows).combine_chunks()
        return _Group(rows, {name: table.column(name).chunk(0) for name in self._work.columns})

    def _fill(self, batch: Any, first: int, start: int, end: int) -> None:
        for position in range(start, end):
            row = int(self._rows[position])
            group = self._groups[int(self._group_of[position])].result()
            index = int(np.searchsorted(group.rows, row))
            values = {name: column[index] for name, column in group.columns.items()}
            self._work.fill(batch, position - first, values, row)

    def _finish(self, batch: Any, tasks: Sequence[Future[None]]) -> Any:
        for task in tasks:
            task.result()
        return self._work.finish(batch)

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
