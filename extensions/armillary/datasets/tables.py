"""Import of tables from CSV or Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import labels as class_labels
from armillary.datasets import store
from armillary.datasets.dataset import Dataset
from armillary.datasets.examples import stacked_columns
from armillary.datasets.features import ClassLabel, Feature, Value, arrow_schema
from armillary.datasets.shards import ROW_GROUP, write_shards
from armillary.datasets.splits import DEFAULT_SHARES, stratified
from armillary.errors import DatasetError
from armillary.inputs.input_spec import table_spec

_ = translator(__file__)

MAX_CATEGORIES = 50
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")


def import_table(
    path: str | Path,
    name: str,
    target: str,
    *,
    split: Mapping[str, float] | None = DEFAULT_SHARES,
    seed: int = 0,
    encoding: str = "utf-8-sig",
    on_error: str = "stop",
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Save a CSV or Parquet file as a dataset.

    Numbers stay numbers; text with at most 50 different, repeated values becomes a category; other text is kept
    but not given to models. Missing values are kept as such, counted in ``report["missing"]`` and read as the
    column's mean.

    Parameters
    ----------
    path
        The file; Parquet when its name ends in ``.parquet`` or ``.pq``, else CSV with a header, its columns divided
        by commas, tabs or semicolons.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    target
        The column with the class.
    split
        Share of each split, stratified by class; ``None`` puts everything into train.
    encoding
        Of a CSV file; a byte order mark is understood.
    on_error
        What to do with rows that have no target: ``"stop"`` or ``"skip"`` (they are counted in the report).

    Raises
    ------
    DatasetError
        When the file cannot be read, the target is missing, or nothing can be written.
    """
    store.check_name(name)
    if on_error not in ("stop", "skip"):
        raise DatasetError(_("on_error is {value!r}.", value=on_error), _('Use "stop" or "skip".'))
    path = Path(path).expanduser()
    frame = read_table(path, encoding)
    if target not in frame.columns:
        listed = ", ".join(map(repr, frame.columns[:50]))
        raise DatasetError(
            _("{file} has no column {target!r}; columns: {listed}.", file=path.name, target=target, listed=listed),
            _("Name one of these as target."),
        )
    frame, skipped = _with_target(frame, target, path.name, on_error)
    codes, names = class_labels.encode(frame[target], None, _("the values of column {column!r}", column=target))
    report = {"skipped": skipped} if skipped else {}
    return save_frame(
        frame.drop(columns=target), codes, names, name, target, split=split, seed=seed, step="import_table",
        source=str(path), report=report, progress=progress,
    )  # fmt: skip


def read_table(path: Path, encoding: str = "utf-8-sig") -> pd.DataFrame:
    """Return a CSV or Parquet file as it is; raises DatasetError when it cannot be read or has no rows."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pq.read_table(path).to_pandas()
        else:
            frame = pd.read_csv(
                path,
                sep=_separator(path, encoding),
                encoding=encoding,
                na_values=list(_MISSING),
                keep_default_na=False,
                low_memory=False,
            )
    except FileNotFoundError as error:
        raise DatasetError(_("There is no file {path}.", path=path), _("Check the path.")) from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            _("{file} is not encoded in {encoding} (byte {n}).", file=path.name, encoding=encoding, n=error.start),
            _('Name its encoding, such as encoding="gb18030" or encoding="latin-1".'),
        ) from error
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise DatasetError(
            _("{file} cannot be read as a table: {error}.", file=path.name, error=error),
            _("Repair the file and try again."),
        ) from error
    if frame.empty:
        raise DatasetError(
            _("{file} has no rows.", file=path.name), _("Give a table with a header and at least one row.")
        )
    frame.columns = [str(column) for column in frame.columns]
    return frame


def _separator(path: Path, encoding: str) -> str:
    """Return what stands between the columns: a comma, else the tab or semicolon that the header has instead."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return ","  # perhaps compressed
    with path.open(encoding=encoding, errors="replace") as file:
        header = file.readline(2**16)
    return next((mark for mark in ",\t;" if mark in header), ",")


def _with_target(
    frame: pd.DataFrame, target: str, file: str, on_error: str
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    missing = np.flatnonzero(frame[target].isna().to_numpy())
    if not len(missing):
        return frame, []
    if on_error == "stop":
        listed = ", ".join(str(row + 1) for row in missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DatasetError(
            _(
                "{n} rows of {file} have no {target!r} (data row {listed}).",
                n=len(missing),
                file=file,
                target=target,
                listed=listed,
            ),
            _('Fill them in, or leave them out with on_error="skip".'),
        )
    reason = _("no value for {target!r}", target=target)
    skipped = [{"file": _("{file}, data row {row}", file=file, row=row + 1), "reason": reason} for row in missing]
    return frame.drop(frame.index[missing]).reset_index(drop=True), skipped


def save_frame(
    frame: pd.DataFrame,
    codes: NDArray[np.int64],
    class_names: tuple[str, ...],
    name: str,
    target: str,
    *,
    split: Mapping[str, float] | None,
    seed: int,
    step: str,
    source: str,
    report: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Save the input columns ``frame`` and the classes ``codes`` ``(n,)`` as the next version of ``name``."""
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise DatasetError(
            _("Two columns are called {name!r}.", name=repeated), _("Give each column one name of its own.")
        )
    inputs, columns, missing = _typed(frame)
    features: dict[str, Feature] = {**inputs, target: ClassLabel(class_names)}
    values, names = stacked_columns(columns, inputs)
    if not names:
        raise DatasetError(
            _("{source} has no column with numbers or categories.", source=source), _("Add one besides the target.")
        )
    assignment = stratified(codes, class_names, split, seed)
    schema = arrow_schema(features)
    content = store.Content(
        features=features,
        target=target,
        input=table_spec(values[assignment.rows("train")], names),
        labels=codes,
        split=assignment,
        place_shards=partial(
            write_shards, schema=schema, batches=_batches(columns.assign(**{target: codes}), schema, progress)
        ),
        recipe=({"step": step, "target": target, "split": dict(split) if split else None, "seed": seed},),
        source=source,
        report={"missing": missing, **(report or {})},
    )
    return Dataset(store.save(name, content))


def _typed(frame: pd.DataFrame) -> tuple[dict[str, Feature], pd.DataFrame, dict[str, int]]:
    """Return a feature for each column, the columns in stored form, and the missing values per column."""
    features: dict[str, Feature] = {}
    stored: dict[str, pd.Series] = {}
    missing: dict[str, int] = {}
    for name in frame.columns:
        features[name], stored[name] = _typed_column(frame[name])
        absent = int(stored[name].isna().sum())
        if absent:
            missing[name] = absent
    return features, pd.DataFrame(stored), missing


def _typed_column(column: pd.Series) -> tuple[Feature, pd.Series]:
    kinds = pd.api.types
    if kinds.is_bool_dtype(column.dtype):
        return Value("bool"), column.astype("boolean")
    if kinds.is_integer_dtype(column.dtype) and not column.max() > np.iinfo(np.int64).max:
        return Value("int64"), column.astype("Int64")
    if kinds.is_numeric_dtype(column.dtype):
        return Value("float64"), column.astype("float64").replace([np.inf, -np.inf], np.nan)
    text = column.astype("string")
    distinct = sorted(text.dropna().unique().tolist())
    if 0 < len(distinct) <= min(MAX_CATEGORIES, len(text) // 2):
        codes = pd.Categorical(text, categories=distinct).codes
        return ClassLabel(tuple(distinct)), pd.Series(codes, index=column.index).astype("Int64").replace(-1, pd.NA)
    return Value("string"), text


def _batches(
    frame: pd.DataFrame, schema: pa.Schema, progress: Callable[[int, int], None] | None
) -> Iterator[pa.RecordBatch]:
    for first in range(0, len(frame), ROW_GROUP):
        part = frame.iloc[first : first + ROW_GROUP]
        if progress:
            progress(first + len(part), len(frame))
        yield pa.RecordBatch.from_pandas(part, schema=schema, preserve_index=False).replace_schema_metadata(
            schema.metadata
        )
