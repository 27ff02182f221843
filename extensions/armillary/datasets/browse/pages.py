"""Pages of examples: found row group by row group, and no further than the page asks for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.browse.filters import Filters, light_column, tests_of
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import MEDIA, Feature
from armillary.datasets.media import Medium
from armillary.datasets.places import is_local
from armillary.datasets.plain_values import plain_value
from armillary.datasets.reading.row_groups import row_groups_of
from armillary.datasets.verified_files import verified_file
from armillary.errors import DatasetError

_ = translator(__file__)

#: Examples on a page.
PAGE = 200
_KEPT = 4


@dataclass(frozen=True)
class Page:
    """Some of the examples that pass the filters.

    Attributes
    ----------
    number
        Of the page, from 0.
    rows
        The row numbers of its examples.
    splits
        The split of each.
    examples
        Each as `Dataset.take` returns it, but of an image, sound or video the name that it was imported by: the bytes
        are had one by one from `Pages.medium`.
    total
        How many examples pass; None while that is not known, for they have not all been looked at.
    searched
        The share of the dataset that has been looked at, up to 1.
    more
        Whether there is a next page, as far as is known.
    """

    number: int
    rows: tuple[int, ...]
    splits: tuple[str, ...]
    examples: tuple[dict[str, Any], ...]
    total: int | None
    searched: float
    more: bool

    @property
    def pages(self) -> int | None:
        """How many pages there are, if that is known."""
        return None if self.total is None else max(1, math.ceil(self.total / PAGE))


class Pages:
    """The examples of a dataset that pass the filters, page by page; it remembers what it has found.

    Parameters
    ----------
    dataset
        An opened dataset.
    filters
        Which examples.

    Raises
    ------
    DatasetError
        When there is no such split, class or column.
    """

    def __init__(self, dataset: Dataset, filters: Filters | None = None) -> None:
        self.dataset = dataset
        self.filters = filters or Filters()
        self.filters.check(dataset)
        self._tests = tests_of(self.filters, dataset)
        self._groups = row_groups_of(dataset.folder, dataset.manifest.created)
        self._candidates = dataset.rows(self.filters.split) if self.filters.split else None
        self._found: list[int] = []
        self._next = 0
        self._kept: dict[tuple[int, tuple[str, ...]], pa.Table] = {}
        self._looked_into: set[int] = set()
        self._checked: set[int] = set()

    @property
    def _is_searched(self) -> bool:
        return not self._tests or self._next == len(self._groups.starts)

    @property
    def total(self) -> int | None:
        """How many examples pass, if that is known."""
        filters, dataset = self.filters, self.dataset
        if filters.needs_reading:
            return len(self._found) if self._is_searched else None
        if filters.class_name is None:
            return len(dataset) if self._candidates is None else len(self._candidates)
        code = dataset.class_names.index(filters.class_name)
        counts = dataset.manifest.class_counts
        return sum(counts[split][code] for split in ([filters.split] if filters.split else counts))

    def page(self, number: int = 0, seconds: float = math.inf) -> Page:
        """Return a page.

        Parameters
        ----------
        number
            From 0.
        seconds
            The longest that is searched; what has been found by then is returned, and the same call goes on.

        Raises
        ------
        DatasetError
            When there is no such page, or a shard is missing or damaged.
        """
        first, last = number * PAGE, (number + 1) * PAGE
        self._search(last + 1, time.monotonic() + seconds)
        rows = self._rows(first, last)
        total = self.total
        if number < 0 or (number and not len(rows) and self._is_searched):
            pages = max(1, math.ceil((total or 0) / PAGE))
            raise DatasetError(_("There is no page {n}.", n=number + 1), _("There are {pages}.", pages=pages))
        return Page(
            number,
            tuple(int(row) for row in rows),
            self._splits(rows),
            tuple(self.read(rows, {name: light_column(name, kind) for name, kind in self.dataset.features.items()})),
            total,
            1.0 if self._is_searched else self._next / len(self._groups.starts),
            last < total if total is not None else len(self._found) > last,
        )

    def _rows(self, first: int, last: int) -> NDArray[np.int64]:
        if self._tests:
            return np.asarray(self._found[first:last], np.int64)
        if self._candidates is not None:
            return self._candidates[first:last]
        return np.arange(min(first, len(self.dataset)), min(last, len(self.dataset)))

    def _splits(self, rows: NDArray[np.int64]) -> tuple[str, ...]:
        if self.filters.split:
            return (self.filters.split,) * len(rows)
        return self.dataset.splits_of(rows)

    def _search(self, wanted: int, deadline: float) -> None:
        """Look at row groups until so many rows are found, all are looked at, or the time is over."""
        while self._tests and not self._is_searched and len(self._found) < wanted:
            self._found += self._passing(self._next).tolist()
            self._next += 1
            if time.monotonic() > deadline:
                return

    def _passing(self, group: int) -> NDArray[np.int64]:
        """Return the rows of a group that pass."""
        rows = self._groups.rows(group)
        if self._candidates is not None:
            begin, end = np.searchsorted(self._candidates, (rows[0], rows[-1] + 1))
            rows = self._candidates[begin:end]
        footer = self._groups.footer(group)
        for test in self._tests:
            if not len(rows) or not test.may_pass(footer):
                return rows[:0]
            table = self._read(group, test.columns)
            rows = rows[test.passes(table)[rows - self._groups.starts[group]]]
        return rows

    def read(self, rows: Sequence[int] | NDArray[np.int64], columns: dict[str, str]) -> Iterator[dict[str, Any]]:
        """Yield examples of these rows; ``columns`` says what is read of each, see `light_column`."""
        features = {name: self.dataset.features[name] for name in columns}
        for row in rows:
            group = int(self._groups.of(np.asarray([row]))[0])
            table = self._table(group, tuple(columns.values()))
            values = {name: table[name][int(row - self._groups.starts[group])].as_py() for name in columns}
            yield {name: _plain(feature, values[name], self._medium) for name, feature in features.items()}

    def medium(self, row: int, column: str) -> Any:
        """Return the `Medium` of a row, None where it is missing; only its row group's column is read."""
        return next(self.read([row], {column: column}))[column]

    def _medium(self, value: dict[str, Any]) -> Any:
        if "bytes" not in value:
            return value["path"] or ""
        return Medium.stored(value, self.dataset.folder, self.dataset.manifest.media)

    def _table(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of a row group; the last few are kept."""
        key = (group, columns)
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self._read(group, columns)
        return self._kept[key]

    def _read(self, group: int, columns: Sequence[str]) -> pa.Table:
        self._looked_into.add(self._groups.shard[group])
        return self._groups.read(group, columns, verify=False)

    @property
    def has_unchecked(self) -> bool:
        """Whether something was read of a shard whose hash is not compared yet; far shards are not fetched for it."""
        return is_local(self.dataset.folder) and bool(self._looked_into - self._checked)

    def check(self) -> None:
        """Compare the shards that were read with their hashes.

        Raises
        ------
        DatasetError
            When one has changed since it was saved.
        """
        for shard in sorted(self._looked_into - self._checked):
            self._checked.add(shard)
            verified_file(self.dataset.folder, self.dataset.manifest.shards[shard])


def _plain(feature: Feature, value: Any, medium: Any) -> Any:
    if value is not None and isinstance(feature, tuple(MEDIA.values())):
        return medium(value)
    return plain_value(feature, value, medium)


def page(dataset: Dataset | str, number: int = 0, filters: Filters | None = None) -> Page:
    """Return a page of 200 examples that pass the filters.

    Parameters
    ----------
    dataset
        An opened dataset or a reference such as ``"digits@1"``.
    number
        From 0.
    filters
        Which examples; all unless given.

    Raises
    ------
    DatasetError
        When there is no such dataset, page, split, class or column, or a shard is missing or damaged.
    """
    return Pages(open_dataset(dataset), filters).page(number)
