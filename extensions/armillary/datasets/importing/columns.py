"""What the columns of a table are: numbers, truth values, categories, text, or what a file says of itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets.features import ClassLabel, Feature, Value
from armillary.datasets.importing.rejects import Rejects
from armillary.datasets.plain_values import short
from armillary.datasets.schemas import feature_of_arrow_type
from armillary.errors import DatasetError

_ = translator(__file__)

MAX_CATEGORIES = 50
#: A column is one of numbers when at least this share of its values are, and there are enough to tell.
NUMBERS_SHARE, ENOUGH_NUMBERS = 0.9, 20
#: The column of `read_rows` that says in words where in its file a row stands.
PLACE = "\0place"
#: The column of `read_tables` that names the split of each row, where files are divided so.
SPLIT = "\0split"
#: Who writes a number with zeros before it (postcodes, article numbers) needs them.
_PADDED = r"[+-]?0\d"
_TRUTH = {"true": True, "false": False}


def typed_columns(
    frame: pd.DataFrame,
    rejects: Rejects,
    *,
    text: Sequence[str] = (),
    declared: Sequence[str] = (),
    target: str | None = None,
) -> tuple[dict[str, Feature], pd.DataFrame]:
    """Return a feature for each column and the columns in stored form, without the rows that do not fit.

    Parameters
    ----------
    frame
        As `read_rows` gives it: columns of text are still to be understood, others are what they are.
    text
        Columns that stay text.
    declared
        Columns whose texts are not read as numbers, for their source says that they are texts.
    target
        The column with the class, which is returned as it is; rows without one are rejected.

    Raises
    ------
    DatasetError
        When two columns have one name.
    """
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise DatasetError(
            _("Two columns are called {name!r}.", name=repeated), _("Give each column one name of its own.")
        )
    frame = frame.reset_index(drop=True)  # rows are told apart by their number, whatever index they came with
    places = frame.pop(PLACE) if PLACE in frame else _numbered(frame)
    parsed = {name: frame[name] if name in (*text, *declared) else _parsed(frame[name]) for name in frame.columns}
    frame = _without_bad_rows(frame, parsed, places, rejects, target)
    features: dict[str, Feature] = {}
    stored: dict[str, pd.Series] = {}
    for name, column in parsed.items():
        kept = column.loc[frame.index]
        if name == target:
            stored[name] = kept
        elif name in text:
            features[name], stored[name] = Value("string"), kept.astype("string")
        else:
            features[name], stored[name] = _typed(name, kept)
    return features, pd.DataFrame(stored).reset_index(drop=True)


def _numbered(frame: pd.DataFrame) -> pd.Series:
    return pd.Series([_("row {row}", row=number) for number in range(1, len(frame) + 1)], frame.index)


def _parsed(column: pd.Series) -> pd.Series:
    """Return a column of text as the numbers or truth values it spells; a text among numbers is missing there."""
    if column.dtype == object and not _holds_lists(column):  # numbers and words in one column of a JSON file
        column = column.map(str, na_action="ignore").astype("str")
    if not pd.api.types.is_string_dtype(column.dtype):
        return column
    known = column.dropna()
    if not len(known) or known.str.match(_PADDED).any():
        return column
    lowered = known.str.lower()
    if lowered.isin(list(_TRUTH)).all():
        return lowered.map(_TRUTH).reindex(column.index).astype("boolean")
    numbers = pd.to_numeric(known, errors="coerce")
    spelt = numbers.notna()
    if spelt.all() or (len(known) >= ENOUGH_NUMBERS and spelt.mean() >= NUMBERS_SHARE):
        if pd.api.types.is_integer_dtype(numbers.dtype):
            return numbers.astype("Int64" if numbers.dtype.kind == "i" else "UInt64").reindex(column.index)
        whole = spelt.any() and (numbers[spelt] % 1 == 0).all() and not known[spelt].str.contains("[.eE]").any()
        if whole and numbers[spelt].abs().max() < 2**53:
            return numbers.astype("Int64").reindex(column.index)
        return numbers.astype("float64").reindex(column.index)
    return column


def _without_bad_rows(
    frame: pd.DataFrame, parsed: dict[str, pd.Series], places: pd.Series, rejects: Rejects, target: str | None
) -> pd.DataFrame:
    bad: dict[Any, str] = {}
    for name, column in parsed.items():
        for row in frame.index[column.isna() & frame[name].notna()]:
            value = short(frame.at[row, name])
            bad.setdefault(
                row, _("{value} in column {column!r}, whose other values are numbers", value=value, column=name)
            )
    if target is not None:
        for row in frame.index[frame[target].isna()]:
            bad.setdefault(row, _("no value for {target!r}", target=target))
    for row in sorted(bad):
        rejects.add(places.at[row], bad[row], partial(_raw, frame, row))
    return frame.drop(index=list(bad))


def _raw(frame: pd.DataFrame, row: Any) -> bytes:
    values = frame.loc[row].drop(SPLIT, errors="ignore").to_dict()
    missing = {name: None for name, value in values.items() if pd.api.types.is_scalar(value) and pd.isna(value)}
    return json.dumps({**values, **missing}, ensure_ascii=False, default=str).encode()


def _typed(name: str, column: pd.Series) -> tuple[Feature, pd.Series]:
    kinds = pd.api.types
    if kinds.is_bool_dtype(column.dtype):
        return Value("bool"), column.astype("boolean")
    if kinds.is_integer_dtype(column.dtype) and not (column.dropna() > np.iinfo(np.int64).max).any():
        return Value("int64"), column.astype("Int64")
    if kinds.is_complex_dtype(column.dtype):
        what = _("Column {name!r} holds complex numbers.", name=name)
        raise DatasetError(what, _("Give two columns: their real and their imaginary parts."))
    if kinds.is_numeric_dtype(column.dtype):
        return Value("float64"), column.astype("float64").replace([np.inf, -np.inf], np.nan)
    if kinds.is_datetime64_any_dtype(column.dtype) or _holds_lists(column):
        try:
            return feature_of_arrow_type(pa.array(column, from_pandas=True).type), column
        except (pa.ArrowException, ValueError) as error:
            what = _("The values of column {name!r} are not all of one kind: {error}.", name=name, error=error)
            raise DatasetError(what, _("Give them one form, or leave the column out.")) from error
    return _category_or_text(column)


def _holds_lists(column: pd.Series) -> bool:
    known = column.dropna()
    return bool(len(known)) and isinstance(known.iloc[0], (list, dict, np.ndarray))


def _category_or_text(column: pd.Series) -> tuple[Feature, pd.Series]:
    text = column.astype("string")
    distinct = sorted(text.dropna().unique().tolist())
    if 0 < len(distinct) <= min(MAX_CATEGORIES, len(text) // 2):
        codes = pd.Categorical(text, categories=distinct).codes
        return ClassLabel(tuple(distinct)), pd.Series(codes, index=column.index).astype("Int64").replace(-1, pd.NA)
    return Value("string"), text
