"""Steps for the columns of tables. What they do is `armillary.inputs.value_steps`, which an app's page uses, too."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.features import ClassLabel, Feature, Value
from armillary.datasets.importing.encoding import encode_value
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.kinds import is_text
from armillary.datasets.preparing.step import Bound, Form, Row, Step, refuse_same_names
from armillary.errors import DatasetError
from armillary.inputs import value_steps
from armillary.inputs.value_steps import is_missing

_ = translator(__file__)


def is_number(feature: Feature) -> bool:
    """Return whether a column holds one number."""
    return isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "float", "decimal"))


def is_category(feature: Feature) -> bool:
    """Return whether a column holds one of some classes, or a text that may name one."""
    return isinstance(feature, ClassLabel) or is_text(feature)


class _TableStep(Step):
    """A step that learns something about each of its columns by itself."""

    travels = True

    @property
    def learns(self) -> bool:
        """Whether it has to see the training examples: always."""
        return True

    def see(self, known: Any, row: Row, at: Bound) -> None:
        """Take in the values that are there; infinite ones would leave nothing to be told of the others."""
        for column in at.columns:
            value = named(at.before.features[column], row.values[column])
            if not is_missing(value) and not (isinstance(value, float) and math.isinf(value)):
                known[column].add(value)

    def check_learned(self, at: Bound) -> None:
        """Refuse columns that it has not seen when it learned."""
        unseen = [column for column in at.columns if column not in at.learned]
        if unseen:
            raise DatasetError(
                _("Step {step!r} has learned nothing about column {column!r}.", step=self.name, column=unseen[0]),
                _("Let it learn from this dataset: recipe.afresh(); or name the columns that it knows."),
            )

    def merge(self, known: Any, more: Any) -> Any:
        """Merge column by column."""
        for column, seen in more.items():
            known[column].take_in(seen)
        return known

    def take(self, row: Row, at: Bound, step: Callable[[dict[str, Any], Any], None]) -> bool:
        """Do with one row what an app does with its input, where categories are names."""
        features = at.before.features
        values = {column: named(features[column], row.values[column]) for column in at.columns}
        step(values, at.learned)
        row.values.update(values)
        return True

    def travelling(self, at: Bound) -> dict[str, Any]:
        """Return the step as an app takes it: what it has learned."""
        return {"step": self.name, "learned": at.learned}


def named(feature: Feature, value: Any) -> Any:
    """Return a class by its name, anything else as it is."""
    if isinstance(feature, ClassLabel):
        return feature.names[value] if value is not None and value >= 0 else None
    return value


class Moments:
    """Number, mean and squared deviations of some numbers; merged exactly (Chan, Golub and LeVeque, 1979)."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, value: Any) -> None:
        """Take in a number."""
        self.n += 1
        delta = float(value) - self.mean
        self.mean += delta / self.n
        self.squares += delta * (float(value) - self.mean)

    def take_in(self, other: Moments) -> None:
        """Take in what another has seen."""
        n = self.n + other.n
        if other.n:
            delta = other.mean - self.mean
            self.mean += delta * other.n / n
            self.squares += other.squares + delta**2 * self.n * other.n / n
        self.n = n

    @property
    def std(self) -> float:
        """The deviation."""
        return float(np.sqrt(self.squares / self.n)) if self.n else 0.0


class _Extremes:
    """The smallest and the largest of some numbers."""

    def __init__(self) -> None:
        self.least, self.most = float("inf"), float("-inf")

    def add(self, value: Any) -> None:
        self.least, self.most = min(self.least, float(value)), max(self.most, float(value))

    def take_in(self, other: _Extremes) -> None:
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)


class _Numbers:
    """All of some numbers, 8 bytes each: quantiles need them."""

    def __init__(self) -> None:
        self.values = array("d")

    def add(self, value: Any) -> None:
        self.values.append(float(value))

    def take_in(self, other: _Numbers) -> None:
        self.values.extend(other.values)

    def quantiles(self, *shares: float) -> list[float]:
        return [float(each) for each in np.quantile(self.values, shares)] if self.values else [0.0] * len(shares)


class _Counts:
    """How often each value comes."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()

    def add(self, value: Any) -> None:
        self.counts[value] += 1

    def take_in(self, other: _Counts) -> None:
        self.counts.update(other.counts)

    def most_frequent(self, most: int | None = None) -> list[Any]:
        """Return the values, the most frequent first, equally frequent ones in their own order."""
        return sorted(self.counts, key=lambda value: (-self.counts[value], value))[:most]


@dataclass(frozen=True)
class Impute(_TableStep):
    """Fill in missing values: with the ``"mean"`` or ``"median"`` of the training examples, or the ``"most_frequent"``.

    Categories and texts get the most frequent. ``"constant"`` fills in ``value``.
    """

    name = "impute"
    choices: ClassVar = {"method": ("mean", "median", "most_frequent", "constant")}
    method: str = "mean"
    value: float | str | None = None

    def check(self) -> None:
        """Refuse a constant without value."""
        self.require(self.method != "constant" or self.value is not None, "value", _("Give the value to fill in."))

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds numbers or categories."""
        if self.method == "constant":
            wanted = is_category if isinstance(self.value, str) else is_number
            return wanted(feature)
        return is_number(feature) or isinstance(feature, ClassLabel)

    @property
    def learns(self) -> bool:
        """Whether it has to see the training examples."""
        return True

    def _method(self, column: str, at: Bound) -> str:
        feature = at.before.features[column]
        return self.method if is_number(feature) or self.method == "constant" else "most_frequent"

    def start(self, at: Bound) -> Any:
        """Return what will be counted of each column."""
        kinds = {"mean": Moments, "median": _Numbers, "most_frequent": _Counts, "constant": Moments}
        made = {column: kinds[self._method(column, at)]() for column in at.columns}
        return {column: _Counts() if isinstance(self.value, str) else counter for column, counter in made.items()}

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return the value of each column."""
        return {column: self._filling(column, known[column], at) for column in at.columns}

    def _filling(self, column: str, counted: Any, at: Bound) -> Any:
        feature, method = at.before.features[column], self._method(column, at)
        if method == "constant":
            return self._constant(column, feature)
        if method == "most_frequent":
            found = counted.most_frequent(1)
            return None if not found else float(found[0]) if isinstance(found[0], Decimal) else found[0]
        value = counted.mean if method == "mean" else counted.quantiles(0.5)[0]
        return value if getattr(feature, "dtype", "").startswith(("float", "decimal")) else _whole(feature, value)

    def _constant(self, column: str, feature: Feature) -> Any:
        if isinstance(feature, ClassLabel) and self.value not in feature.names:
            raise _no_class(column, self.value, feature)
        if isinstance(feature, Value):
            _check_value(column, feature, self.value)
        return self.value

    def check_learned(self, at: Bound) -> None:
        """Refuse classes that a column does not have."""
        super().check_learned(at)
        for column in at.columns:
            feature, value = at.before.features[column], at.learned[column]
            if isinstance(feature, ClassLabel) and value is not None and value not in feature.names:
                raise _no_class(column, value, feature)

    def apply(self, row: Row, at: Bound) -> bool:
        """Fill in one row."""
        self.take(row, at, value_steps.impute)
        for column in at.columns:
            feature = at.before.features[column]
            if isinstance(feature, ClassLabel) and row.values[column] is not None:
                row.values[column] = feature.names.index(row.values[column])
            elif isinstance(feature, Value):
                row.values[column] = _decimal(feature, row.values[column])
        return True


def _no_class(column: str, value: Any, feature: ClassLabel) -> DatasetError:
    what = _("{column!r} has no class {value!r}.", column=column, value=value)
    return DatasetError(what, _("Its classes: {names}.", names=", ".join(feature.names)))


def _check_value(column: str, feature: Value, value: Any) -> None:
    try:
        encode_value(feature, _decimal(feature, value))
    except BadExampleError as error:
        what = _("{column!r} cannot hold {value!r}: it is {dtype}.", column=column, value=value, dtype=feature.dtype)
        raise DatasetError(what, _("Give the value to fill in.")) from error


def _whole(feature: Feature, value: float) -> int:
    """Return the whole number nearest to a value that a column of whole numbers can hold."""
    limits = np.iinfo(feature.dtype)  # type: ignore[union-attr] # numbers are values
    return min(max(round(value), int(limits.min)), int(limits.max))


def _decimal(feature: Value, value: Any) -> Any:
    """Return a number that was filled into a column of decimal numbers as one with as many places."""
    if not feature.dtype.startswith("decimal") or not isinstance(value, (int, float)):
        return value
    return Decimal(repr(value)).quantize(Decimal(1).scaleb(-feature.arrow_type.scale))


@dataclass(frozen=True)
class Scale(_TableStep):
    """Bring numbers to a common scale, as the training examples have it.

    ``"standard"``: mean 0, deviation 1. ``"minmax"``: from 0 to 1. ``"robust"``: median 0, quartiles 1 apart. A column
    that is constant is only shifted.
    """

    name = "scale"
    choices: ClassVar = {"method": ("standard", "minmax", "robust")}
    method: str = "standard"

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds numbers."""
        return is_number(feature)

    def form_after(self, at: Bound) -> Form:
        """Return the columns: numbers of any kind are float64 now, unless they were float32."""
        float32 = Value("float32")
        changed = {c: f if (f := at.before.features[c]) == float32 else Value("float64") for c in at.columns}
        return at.before.with_features(changed)

    def start(self, at: Bound) -> Any:
        """Return what will be counted of each column."""
        kind: Any = {"standard": Moments, "minmax": _Extremes, "robust": _Numbers}[self.method]
        return {column: kind() for column in at.columns}

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return centre and width of each column."""
        found = {column: self._measures(known[column]) for column in at.columns}
        return {column: {"centre": centre, "width": width or 1.0} for column, (centre, width) in found.items()}

    def _measures(self, counted: Any) -> tuple[float, float]:
        if self.method == "standard":
            return counted.mean, counted.std
        if self.method == "robust":
            lower, middle, upper = counted.quantiles(0.25, 0.5, 0.75)
            return middle, upper - lower
        found = counted.least <= counted.most
        return (counted.least, counted.most - counted.least) if found else (0.0, 1.0)

    def apply(self, row: Row, at: Bound) -> bool:
        """Scale one row."""
        return self.take(row, at, value_steps.scale)


@dataclass(frozen=True)
class Encode(_TableStep):
    """Write categories, or texts that the training examples repeat, as numbers.

    ``into="one_hot"``: a column for each category, named ``column=category``, with 1 or 0. ``into="number"``: the place
    of the category. ``most`` is the number of categories of a text that are kept, the most frequent; an example with
    another, or with none, has 0 in all of its columns, or the number -1.
    """

    name = "encode"
    choices: ClassVar = {"into": ("one_hot", "number")}
    adds_columns = True
    into: str = "one_hot"
    most: int = 50

    def check(self) -> None:
        """Refuse numbers below 1."""
        self.require_positive("most")

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds categories."""
        return is_category(feature)

    def form_after(self, at: Bound) -> Form:
        """Return the columns with numbers."""
        if self.into == "number":
            return at.before.with_features({column: Value("int64") for column in at.columns})
        made = [f"{column}={each}" for column in at.columns for each in self._categories(column, at)]
        refuse_same_names(self.name, at.before, made)
        return at.before.with_features(dict.fromkeys(made, Value("float32")), without=at.columns)

    @staticmethod
    def _categories(column: str, at: Bound) -> Any:
        learned: Mapping[str, Any] = at.learned
        return learned[column]["categories"]

    def start(self, at: Bound) -> Any:
        """Return what will be counted of each column."""
        return {column: _Counts() for column in at.columns}

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return the categories: all classes of a column with classes, of a text the most frequent, by name."""
        features = at.before.features
        found = {
            column: list(feature.names)
            if isinstance(feature := features[column], ClassLabel)
            else sorted(known[column].most_frequent(self.most))
            for column in at.columns
        }
        return {column: {"into": self.into, "categories": categories} for column, categories in found.items()}

    def apply(self, row: Row, at: Bound) -> bool:
        """Encode one row."""
        done = self.take(row, at, value_steps.encode)
        if self.into == "one_hot":
            for column in at.columns:
                del row.values[column]
        return done
