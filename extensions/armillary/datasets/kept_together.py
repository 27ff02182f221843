"""Splits in which examples that belong together are never parted: groups, duplicates, and those of one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.plain_values import short
from armillary.datasets.sameness import Units, unit_rows
from armillary.datasets.splits import (
    Assignment,
    apportioned,
    at_random,
    checked_shares,
    given,
    known_name,
    stratified,
)
from armillary.errors import DatasetError

_ = translator(__file__)


def divided(
    labels: NDArray[np.int64] | None,
    class_names: Sequence[str],
    shares: Mapping[str, float] | None,
    seed: int,
    units: Units,
    *,
    strict: bool = False,
) -> Assignment:
    """Split rows, those of one unit together, and each class as near to its shares as that allows.

    Parameters
    ----------
    labels
        The class of every row, ``(n,)``; None where there are none.
    units
        A number for every row, ``(n,)``: equal where rows belong together.
    strict
        Too few units for all splits are an error even where there are no classes.

    Raises
    ------
    DatasetError
        As of `splits.stratified`, and when there are too few units for all splits.
    """
    plain = at_random(len(units), shares, seed) if labels is None else stratified(labels, class_names, shares, seed)
    together = unit_rows(units)
    if not together or len(plain.names) == 1:
        return plain
    codes = _Division(np.zeros(len(units), np.int64) if labels is None else labels, checked_shares(shares)).codes(
        together, np.random.default_rng(seed)
    )
    return _all_filled(Assignment(plain.names, codes), units, strict or labels is not None)


class _Division:
    """Gives units to splits, the largest first, each to where it brings the classes nearest to their shares."""

    def __init__(self, labels: NDArray[np.int64], shares: Mapping[str, float]) -> None:
        self._labels = labels
        self._totals = np.bincount(labels).astype(float)
        self._wanted = np.outer(list(shares.values()), self._totals)
        self._had = np.zeros_like(self._wanted)

    def codes(self, together: list[Units], random: np.random.Generator) -> NDArray[np.int64]:
        """Return the split of every row: first of the units with several rows, then of the rest."""
        codes = np.full(len(self._labels), -1, np.int64)
        order = random.permutation(len(together))
        for index in sorted(order, key=lambda index: -len(together[index])):
            codes[together[index]] = self._best(together[index])
        for label in range(len(self._totals)):
            rows = random.permutation(np.flatnonzero((codes < 0) & (self._labels == label)))
            codes[rows] = self._dealt(label, len(rows))
        return codes

    def _best(self, rows: Units) -> int:
        classes, counts = np.unique(self._labels[rows], return_counts=True)
        lacking = (self._wanted[:, classes] - self._had[:, classes]) / self._totals[classes] ** 2
        split = int(np.argmax(lacking @ counts))
        self._had[split, classes] += counts
        return split

    def _dealt(self, label: int, rows: int) -> NDArray[np.int64]:
        """Return the splits of the single rows of a class: what each still lacks."""
        lacking = np.maximum(self._wanted[:, label] - self._had[:, label], 1e-9)
        ends = np.cumsum(apportioned(rows, (lacking / lacking.sum()).tolist()))
        return np.searchsorted(ends, np.arange(rows), side="right")


def _all_filled(found: Assignment, units: Units, strict: bool) -> Assignment:
    """Give each empty split the smallest unit of the split that has the most of them.

    Raises
    ------
    DatasetError
        When there are fewer units than splits and that is not allowed.
    """
    known, first, sizes = np.unique(units, return_index=True, return_counts=True)
    if len(known) < len(found.names):
        if not strict:
            return found
        what = _(
            "{n} different examples or groups cannot stand in each of {splits}.",
            n=len(known),
            splits=", ".join(found.names),
        )
        remedy = _("Ask for fewer splits, for instance {example}.", example='{"train": 0.8, "test": 0.2}')
        raise DatasetError(what, remedy)
    codes = found.codes.copy()
    for code in range(len(found.names)):
        if not (codes == code).any():
            of_units = codes[first]
            fullest = np.bincount(of_units).argmax()
            smallest = min(np.flatnonzero(of_units == fullest), key=lambda unit: (sizes[unit], unit))
            codes[units == known[smallest]] = code
    return Assignment(found.names, codes)


def by_time(times: NDArray[Any], shares: Mapping[str, float] | None, units: Units | None) -> Assignment:
    """Split rows so that train comes before validation and validation before test; one time is never parted.

    A later copy of an example (of the same unit) goes to the split of the first.

    Raises
    ------
    DatasetError
        When there are too few different times for all splits.
    """
    parts = checked_shares(shares)
    _known, unit, counts = np.unique(times, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    ends = np.cumsum(list(parts.values()))[:-1] * len(times)
    codes = np.searchsorted(ends, middles, side="right")[unit]
    if units is not None:
        first = np.full(units.max(initial=-1) + 1, len(parts))
        np.minimum.at(first, units, codes)
        codes = first[units]
    empty = [name for code, name in enumerate(parts) if not (codes == code).any()]
    if empty:
        what = _("{n} different times leave nothing for {split}.", n=len(counts), split=empty[0])
        raise DatasetError(what, _("Change the shares, or ask for fewer splits."))
    return Assignment(tuple(parts), codes.astype(np.int64))


def by_names(names: Sequence[Any], column: str) -> Assignment:
    """Return the split that each row names itself.

    Raises
    ------
    DatasetError
        When a name is no split's, or none is train.
    """
    found = [known_name(str(name)) for name in names]
    known = [split for split in found if split is not None]
    unknown = sorted({short(name) for name, split in zip(names, found, strict=True) if split is None})
    if unknown or "train" not in known:
        what = (
            _("Column {column!r} names {names}, which is no split.", column=column, names=", ".join(unknown[:5]))
            if unknown
            else _("Column {column!r} puts nothing into train.", column=column)
        )
        raise DatasetError(what, _("Its values must be train, validation or test."))
    return given(known)
