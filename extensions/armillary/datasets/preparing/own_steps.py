"""Steps that choose examples, and steps with a function of one's own.

A function cannot be stored as plain values. A recipe keeps where it was defined, its source and the hash of what
cloudpickle makes of it: replayed where the same function can be found there again, unchanged, it is used; anywhere
else the step is shown, and preparing says that it cannot be replayed.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.features import Array, Boxes, ClassLabel, Feature, Image, Sequence, TokenLabels
from armillary.datasets.importing.encoding import encode
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.media import Medium
from armillary.datasets.plain_values import holds_media, plain_value, with_media
from armillary.datasets.preparing.rows import Drawn, Sound
from armillary.datasets.preparing.step import Bound, Form, PictureForm, Row, Step, is_pictures
from armillary.datasets.preparing.table_steps import is_category, is_number, named
from armillary.datasets.schemas import checked_features, feature_from_json, features_from_json, features_to_json
from armillary.errors import DatasetError
from armillary.inputs.value_steps import is_missing

_ = translator(__file__)

_WITH_LENGTH = (Sequence, TokenLabels, Boxes, Array)


@dataclass(frozen=True)
class OwnFunction:
    """A function and where it comes from; without ``function`` it could not be found again, for a ``reason``."""

    function: Callable[..., Any] | None
    place: str
    source: str
    hash: str
    reason: str = ""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> OwnFunction:
        """Describe a function."""
        place = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', repr(function))}"
        return cls(function, place, _source_of(function), _hash_of(function))

    @classmethod
    def stored(cls, values: Mapping[str, str]) -> OwnFunction:
        """Find the function of a stored recipe again."""
        found, reason = _found(values["place"]), ""
        if found is None:
            reason = _("{place} is not there", place=values["place"])
        elif (_source_of(found) or _hash_of(found)) != (values["source"] or values["hash"]):
            found, reason = None, _("{place} has changed since", place=values["place"])
        return cls(found, values["place"], values["source"], values["hash"], reason)

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values."""
        return {"place": self.place, "source": self.source, "hash": self.hash}

    def required(self, step: str) -> Callable[..., Any]:
        """Return the function, or raise DatasetError when it could not be found again."""
        if self.function is None:
            raise DatasetError(
                _("Step {step!r} cannot be replayed: its function {reason}.", step=step, reason=self.reason),
                _("Define it there as it was, or give the recipe the function anew: recipe.with_function(...)."),
            )
        return self.function


def _source_of(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _hash_of(function: Any) -> str:
    try:
        return hashlib.sha256(cloudpickle.dumps(function)).hexdigest()
    except Exception as error:  # what a function refers to may refuse in any way
        what = _("The function {name} cannot travel to workers: {error}.", name=repr(function), error=error)
        raise DatasetError(
            what, _("Let it open files and connections itself, rather than refer to open ones.")
        ) from error


def _found(place: str) -> Any:
    module, _colon, path = place.partition(":")
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError):
        return None
    return found


class OwnStep(Step):
    """A step with a function of one's own."""

    function: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.function is not None and not isinstance(self.function, OwnFunction):
            self.require(callable(self.function), "function", _("Give a function of one example."))
            object.__setattr__(self, "function", OwnFunction.of(self.function))

    def with_function(self, function: Callable[..., Any]) -> OwnStep:
        """Return the step with another function."""
        return replace(self, function=function)  # type: ignore[call-arg] # a field of the subclasses

    def to_json(self) -> dict[str, Any]:
        """Return its parameters, the function by where it comes from."""
        values = super().to_json()
        return values | ({"function": self.function.to_json()} if self.function is not None else {})

    def fits(self, feature: Feature) -> bool:
        """Return whether it works on a column: on each."""
        return True

    def columns_of(self, form: Form) -> tuple[str, ...]:
        """Return all columns; checks that the function is there."""
        if self.function is not None:
            self.function.required(self.name)
        return tuple(form.features)

    def call(self, row: Row, at: Bound) -> Any:
        """Return what the function makes of one row, whose values it gets as `Dataset.iterate` gives them.

        Raises
        ------
        BadExampleError
            When the function fails.
        """
        example = {
            name: plain_value(feature, row.values[name], lambda medium: medium)
            for name, feature in at.before.features.items()
        }
        function = self.function.required(self.name)
        try:
            return function(example)
        except Exception as error:
            name = getattr(function, "__qualname__", repr(function))
            raise BadExampleError(f"{name}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Map(OwnStep):
    """Make something else of each example by a function of one's own.

    The function gets an example as `Dataset.iterate` gives it (images, sounds and videos decode themselves) and returns
    the values that change; a value of None is missing.

    Parameters
    ----------
    function
        Of one example; a lambda or a function of a notebook will do, but is not found again in another.
    features
        The feature of each column that changes its kind, or is new.
    without
        Columns that are left out.

    Examples
    --------
    >>> Map(lambda example: {"length": len(example["text"])}, features={"length": Value("int64")})
    """

    name = "map"
    function: Any = None
    features: Mapping[str, Feature] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", (self.without,) if isinstance(self.without, str) else tuple(self.without))
        super().__post_init__()

    def check(self) -> None:
        """Refuse a step without function, wrong features, and a column that is to be made and left out."""
        self.require(self.function is not None, "function", _("Give a function of one example."))
        checked_features(self.features)
        self.require(
            self.features.keys().isdisjoint(self.without), "without", _("Leave out no column that features describes.")
        )

    def to_json(self) -> dict[str, Any]:
        """Return where the function comes from, and the features."""
        without = {"without": list(self.without)} if self.without else {}
        described = {"features": features_to_json(self.features)} if self.features else {}
        return {"step": self.name, "function": self.function.to_json(), **described, **without}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Map:
        """Return the step with its function, if it is found."""
        features = features_from_json(values.get("features", {}))
        return cls(OwnFunction.stored(values["function"]), features, tuple(values.get("without", ())))

    def form_after(self, at: Bound) -> Form:
        """Return the columns with their new features."""
        unknown = [name for name in self.without if name not in at.before.features]
        if unknown or at.before.target in self.without:
            what = _("Step {step!r} cannot leave out {column!r}.", step=self.name, column=(unknown or self.without)[0])
            raise DatasetError(what, _("Name columns that there are, and not the target."))
        features = {name: feature_from_json(feature.to_json()) for name, feature in self.features.items()}
        target = at.before.target
        if target in features and not isinstance(features[target], ClassLabel):
            what = _(
                "Step {step!r} would make {column!r}, the target, something without classes.",
                step=self.name,
                column=target,
            )
            raise DatasetError(what, _("Give it a ClassLabel, or put the values into a new column."))
        form = at.before.with_features(features, without=self.without)
        pictures = (name for name, feature in form.features.items() if is_pictures(feature))
        return form.with_pictures(tuple(pictures), PictureForm())

    def apply(self, row: Row, at: Bound) -> bool:
        """Take over what the function returns."""
        found = self.call(row, at)
        if not isinstance(found, Mapping):
            raise BadExampleError(_("the function returned {value!r}, no mapping of columns to values", value=found))
        features = at.after.features
        unknown = [name for name in found if name not in features]
        if unknown:
            raise BadExampleError(_("the function returned a column {name!r} that has no feature", name=unknown[0]))
        for name, value in found.items():
            row.values[name] = _taken(features[name], value)
        for name in features:
            row.values.setdefault(name, None)
        for name in self.without:
            row.values.pop(name)
        return True


def _taken(feature: Feature, value: Any) -> Any:
    """Return a value of a person's function as rows have it, checked."""
    if isinstance(value, (Drawn, Sound, Medium)):
        return value
    if isinstance(feature, Image) and hasattr(value, "convert"):
        return Drawn(value, "")
    if isinstance(feature, Sequence) and holds_media(feature) and isinstance(value, (list, tuple)):
        if 0 <= feature.length != len(value):
            raise BadExampleError(_("{n} values instead of {length}", n=len(value), length=feature.length))
        return [_taken(feature.feature, part) for part in value]
    stored = encode(feature, value, lambda data, path: {"bytes": data, "path": path})
    return with_media(feature, stored, lambda medium: Medium(medium["path"] or "", medium["bytes"]))


@dataclass(frozen=True)
class Filter(OwnStep):
    """Keep the examples that pass all conditions; the rest is left out of every split.

    Parameters
    ----------
    column
        The column that conditions are about; the target, too.
    among
        Values to keep, or one; numbers and truth values also as texts; of classes, their names.
    at_least, at_most
        Smallest and largest number to keep; of texts and lists, of their lengths; of boxes, how many there are.
    function
        Of one's own: of an example as `Dataset.iterate` gives it, returns whether it stays.
    """

    name = "filter"
    column: str = ""
    among: tuple[Any, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    function: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.among, str) or not isinstance(self.among, Iterable):
            object.__setattr__(self, "among", () if self.among is None else (self.among,))
        super().__post_init__()

    def check(self) -> None:
        """Refuse a step without any condition."""
        known = all(isinstance(each, (str, int, float)) for each in self.among)
        self.require(known, "among", _("Give texts, numbers or truth values."))
        conditions = bool(self.column) and (bool(self.among) or self.at_least is not None or self.at_most is not None)
        self.require(
            conditions or self.function is not None, "column", _("Give a column and a condition, or a function.")
        )
        for bound in ("at_least", "at_most"):
            value = getattr(self, bound)
            self.require(value is None or isinstance(value, (int, float, np.number)), bound, _("Give a number."))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Filter:
        """Return the step with its function, if it has one and it is found."""
        found = {"function": OwnFunction.stored(values["function"])} if "function" in values else {}
        return cls(**{**values, **found})

    def columns_of(self, form: Form) -> tuple[str, ...]:
        """Return all columns; checks that the one named is there."""
        if self.column and self.column not in form.features:
            what = _("Step {step!r}: there is no column {column!r}.", step=self.name, column=self.column)
            raise DatasetError(what, _("Columns: {names}.", names=", ".join(form.features)))
        if self.at_least is not None or self.at_most is not None:
            self._check_size(form)
        return super().columns_of(form)

    def _check_size(self, form: Form) -> None:
        """Refuse columns of values that are neither numbers nor have a length."""
        feature = form.features[self.column]
        if not (is_number(feature) or is_category(feature) or isinstance(feature, _WITH_LENGTH)):
            what = _("Step {step!r}: values of {column!r} have no size.", step=self.name, column=self.column)
            raise DatasetError(what, _("Give the condition as a function of an example."))

    def apply(self, row: Row, at: Bound) -> bool:
        """Return whether the row stays."""
        if self.column and not self._passes(named(at.before.features[self.column], row.values[self.column])):
            return False
        return self.function is None or bool(self.call(row, at))

    def _passes(self, value: Any) -> bool:
        if is_missing(value):
            return False
        counted = value["bbox"] if isinstance(value, dict) and "bbox" in value else value
        size = len(counted) if hasattr(counted, "__len__") else counted
        return (
            (not self.among or any(_is_same(value, each) for each in self.among))
            and (self.at_least is None or size >= self.at_least)
            and (self.at_most is None or size <= self.at_most)
        )


def _is_same(value: Any, wanted: Any) -> bool:
    """Return whether a value is the one wanted, which a form gives as a text."""
    if not isinstance(wanted, str) or isinstance(value, str):
        return bool(value == wanted)
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    try:
        return bool(value == type(value)(wanted))
    except (TypeError, ValueError, ArithmeticError):
        return str(value) == wanted
