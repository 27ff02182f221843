"""Numbers, truth values, times, categories and names: the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.columns import Leaf
from armillary.datasets.checking.findings import Finding, removal
from armillary.datasets.checking.parts import MOST_FINDINGS, Part, Scope, hash_of
from armillary.datasets.features import Array, ClassLabel, Sequence, Value

_ = translator(__file__)

_MOST_CATEGORIES = 50
_MOST_NUMBERS = 4096
#: So many times the middle half's width away from the middle is far; a column with more of these has long tails.
_FAR, _LONG_TAIL = 6.0, 0.005
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class ValuePart(Part):
    """One value in each row."""

    def __init__(self, leaf: Leaf, scope: Scope) -> None:
        super().__init__(leaf, scope)
        self._feature = leaf.feature
        self._is_number = isinstance(leaf.feature, Value) and _is_number(leaf.feature)
        self._numbers = np.full(len(scope.sample), np.nan)
        self._words: list[str | None] = [None] * len(scope.sample)

    def see(self, first: int, values: pa.Array) -> None:
        """Look at the values of a row group."""
        rows = slice(first, first + len(values))
        places = self.scope.places(first, len(values))
        sampled, empty = self.scope.sample[places] - first, self.missing[rows]
        if self._is_number or isinstance(self._feature, ClassLabel):
            numbers = _as_numbers(values)
            self._numbers[places] = np.where(empty, np.nan, numbers)[sampled]
            bits = _bits(values, numbers)
        else:
            words = [None if word is None else str(word) for word in values.to_pylist()]
            self._words[places] = [None if empty[index] else words[index] for index in sampled]
            bits = np.array([hash_of((word or "").encode("utf-8", "surrogatepass")) for word in words], np.uint64)
        self.fingerprints[rows] = np.where(empty, np.uint64(1), bits * _SPREAD | np.uint64(2))

    @property
    def is_real(self) -> bool:
        """Whether the values are numbers with decimals."""
        return pa.types.is_floating(self._feature.arrow_type)

    @property
    def is_identifier(self) -> bool:
        """Whether no value occurs twice, though they are whole numbers, names or times."""
        if isinstance(self._feature, ClassLabel) or self.is_real:
            return False
        return self.scope.rows > 1 and len(np.unique(self.fingerprints)) == self.scope.rows

    def findings(self) -> Iterator[Finding]:
        """Yield what is missing, and the numbers that are far from all others."""
        yield from self.missing_findings()
        numbers = self._numbers[np.isfinite(self._numbers)]
        if not self._is_number or len(numbers) < 10 or self.is_identifier:
            return
        low, middle, high = np.percentile(numbers, (25, 50, 75))
        away = np.abs(self._numbers - middle) / (high - low) if high > low else np.zeros(len(self._numbers))
        places = np.flatnonzero(away > _FAR)
        if len(places) <= max(2, _LONG_TAIL * len(numbers)):
            usual = self._numbers[~(away > _FAR)]
            for place in places[np.argsort(-away[places], kind="stable")][:MOST_FINDINGS]:
                yield self._far(int(place), float(away[place]), float(np.nanmin(usual)), float(np.nanmax(usual)))

    def _far(self, place: int, away: float, low: float, high: float) -> Finding:
        row = int(self.scope.sample[place])
        what = _(
            "{column} is {number:,g}; nearly all others lie between {low:,g} and {high:,g}.",
            column=self.name,
            number=float(self._numbers[place]),
            low=low,
            high=high,
        )
        advice = _("Correct it, or remove the example.")
        return Finding("outlier", (row,), 1 - _FAR / 2 / away, what, advice, removal([row]), self.name)

    def block(self) -> Any:
        """Return the number, standardised, or a column for each of a few categories; NaN where there is none."""
        if self._is_number:
            finite = np.where(np.isfinite(self._numbers), self._numbers, np.nan)
            spread = float(np.nanstd(finite)) if np.isfinite(finite).any() else 0.0
            if not spread or self.is_identifier:
                return super().block()
            return ((finite - np.nanmean(finite)) / spread).astype(np.float32)[:, None]
        codes = self.codes()
        categories = int(np.nanmax(codes, initial=-1)) + 1
        if not 2 <= categories <= _MOST_CATEGORIES:
            return super().block()
        block = (codes[:, None] == np.arange(categories)).astype(np.float32)
        block[np.isnan(codes)] = np.nan
        return block

    def codes(self) -> NDArray[np.float64]:
        """Return the sample's values as numbers: of names their place in the alphabet; NaN where there is none."""
        if self._is_number or isinstance(self._feature, ClassLabel):
            return self._numbers
        place = {word: index for index, word in enumerate(sorted({word for word in self._words if word is not None}))}
        return np.array([np.nan if word is None else place[word] for word in self._words], np.float64)

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Return the values themselves: a column may be another name of the class."""
        return {self.name: self.codes()}


class NumbersPart(Part):
    """Lists and arrays of numbers, labels of words, boxes: whatever has no part of its own."""

    def __init__(self, leaf: Leaf, scope: Scope) -> None:
        super().__init__(leaf, scope)
        self.is_content = isinstance(leaf.feature, Array)
        self._block: NDArray[np.float32] | None = None

    def see(self, first: int, values: pa.Array) -> None:
        """Look at the values of a row group."""
        places = self.scope.places(first, len(values))
        sampled = {int(row) - first: place for place, row in enumerate(self.scope.sample[places], places.start)}
        for index, value in enumerate(values.to_pylist()):
            self.fingerprints[first + index] = hash_of(repr(value).encode())
            if value is not None and index in sampled and isinstance(self.leaf.feature, (Array, Sequence)):
                self._keep(sampled[index], value)

    def _keep(self, place: int, value: Any) -> None:
        try:
            numbers = np.array(value, np.float32).ravel()
        except (TypeError, ValueError):  # no numbers, or lists of several lengths
            return
        numbers[~np.isfinite(numbers)] = np.nan
        if self._block is None and 0 < numbers.size <= _MOST_NUMBERS:
            self._block = np.full((len(self.scope.sample), numbers.size), np.nan, np.float32)
        if self._block is not None and numbers.size == self._block.shape[1]:
            self._block[place] = numbers

    def block(self) -> Any:
        """Return the numbers, where nearly all rows have as many."""
        if self._block is None or np.isnan(self._block).all(axis=1).mean() > 0.5:
            return super().block()
        spread = np.nanstd(self._block, axis=0)
        return (self._block - np.nanmean(self._block, axis=0)) / np.where(spread > 0, spread, 1)


def _is_number(feature: Value) -> bool:
    kind = feature.arrow_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _bits(values: pa.Array, numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return 64 bits that tell numbers apart: whole ones by themselves, for as floats long ones would be the same."""
    if pa.types.is_integer(values.type):
        whole = pc.cast(pc.fill_null(values, 0), pa.int64(), safe=False)
        return whole.to_numpy(zero_copy_only=False).view(np.uint64)
    return (numbers + 0.0).view(np.uint64)  # -0 and 0 are the same


def _as_numbers(values: pa.Array) -> NDArray[np.float64]:
    return pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
