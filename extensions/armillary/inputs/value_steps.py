"""The steps that a table's values take before a model sees them: the same for a dataset and for an app's input.

A step is described by plain values, with what it learned from the training examples::

    {"step": "scale", "learned": {"mass": {"centre": 4201.8, "width": 801.9}}}

Values are those of one example by column; a missing one is None or NaN. A category is its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Values = dict[str, Any]


def after(values: Mapping[str, Any], steps: tuple[Mapping[str, Any], ...]) -> Values:
    """Return the values of one example after all steps."""
    found = dict(values)
    for step in steps:
        _STEPS[step["step"]](found, step["learned"])
    return found


def is_missing(value: Any) -> bool:
    """Return whether there is no value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def impute(values: Values, learned: Mapping[str, Any]) -> None:
    """Fill in missing values: ``learned`` has one for each column."""
    for column, value in learned.items():
        if is_missing(values.get(column)):
            values[column] = value


def scale(values: Values, learned: Mapping[str, Mapping[str, float]]) -> None:
    """Make ``(value - centre) / width`` of each number; a missing one stays missing."""
    for column, numbers in learned.items():
        value = values.get(column)
        values[column] = None if is_missing(value) else (float(value) - numbers["centre"]) / numbers["width"]  # type: ignore[arg-type] # it is there


def encode(values: Values, learned: Mapping[str, Mapping[str, Any]]) -> None:
    """Write categories as numbers.

    ``"one_hot"``: the column becomes one for each category, named ``column=category``, which is 1 for the example's own
    and 0 otherwise. ``"number"``: the place of the category, -1 for one that is missing or was not learned.
    """
    for column, coding in learned.items():
        value, categories = values.pop(column, None), coding["categories"]
        if coding["into"] == "one_hot":
            values.update({f"{column}={category}": float(category == value) for category in categories})
        else:
            values[column] = categories.index(value) if value in categories else -1


_STEPS: dict[str, Callable[[Values, Any], None]] = {"impute": impute, "scale": scale, "encode": encode}
