"""Class labels in whatever form they come, as indices into a list of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.names import refuse_text
from armillary.datasets.plain_values import short
from armillary.errors import DatasetError

_ = translator(__file__)

MAX_CLASSES = 1000


def encode(values: Any, class_names: Sequence[str] | None, what: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return class indices ``(n,)`` and names.

    Parameters
    ----------
    values
        Names, numbers or booleans, one per example.
    class_names
        Their order. Integers are then indices into it; without it the sorted distinct values are the names.
    what
        What to call the values in an error, in the person's language, such as ``"the values of column 'species'"``.

    Raises
    ------
    DatasetError
        For missing, continuous, unknown or too many different values, or fewer than two classes.
    """
    series = pd.Series(np.asarray(values).ravel() if not isinstance(values, pd.Series) else values.to_numpy())
    missing = int(series.isna().sum())
    if missing:
        first = int(series.isna().to_numpy().argmax())
        raise DatasetError(
            _("{n} of {what} have no value, the first at row {row}.", n=missing, what=what, row=first),
            _("Fill in or remove them."),
        )
    series = _discrete(series, what)
    if class_names is not None:
        refuse_text(class_names, "class_names")
        return _by_name(series, tuple(str(name) for name in class_names), what)
    distinct = sorted(series.unique().tolist())
    if len(distinct) > MAX_CLASSES:
        raise DatasetError(
            _("{what} have {n:,} different values.", what=what, n=len(distinct)),
            _("Give at most {n:,} classes.", n=MAX_CLASSES),
        )
    index = {value: number for number, value in enumerate(distinct)}
    return series.map(index).to_numpy(np.int64), _checked_names(tuple(str(value) for value in distinct), what)


def _discrete(series: pd.Series, what: str) -> pd.Series:
    if pd.api.types.is_float_dtype(series):
        if not (np.isfinite(series) & (series == series.round())).all():
            raise DatasetError(
                _("{what} are continuous numbers, not classes.", what=what), _("Choose a target with classes.")
            )
        return series.astype(np.int64)
    if pd.api.types.is_integer_dtype(series) or pd.api.types.is_bool_dtype(series):
        return series
    return series.map(_as_text)


def _as_text(value: Any) -> str:
    """Return a name; NumPy's arrays of bytes hold them as such."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _by_name(series: pd.Series, names: tuple[str, ...], what: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    _checked_names(names, what)
    if pd.api.types.is_integer_dtype(series):
        unknown = series[(series < 0) | (series >= len(names))]
        labels = series
    else:
        labels = series.map(str).map({name: index for index, name in enumerate(names)})
        unknown = series[labels.isna()]
    if len(unknown):
        found = ", ".join(map(short, unknown.unique()[:5].tolist()))
        raise DatasetError(
            _("{what} contain {found}, which is none of the {n} classes.", what=what, found=found, n=len(names)),
            _("Name every class."),
        )
    return labels.to_numpy(np.int64), names


def _checked_names(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    if len(set(names)) != len(names) or any(not name.strip() for name in names):
        raise DatasetError(
            _("The class names {names} are empty or not distinct.", names=list(names)[:20]),
            _("Give each class a name."),
        )
    if len(names) < 2:
        raise DatasetError(
            _("{what} have {n} class; a classifier needs two.", what=what, n=len(names)),
            _("Add examples of another class."),
        )
    return names
