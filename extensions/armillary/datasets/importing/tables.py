"""Import of tables from CSV, JSON, Parquet or Arrow files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.examples import stacked_columns
from armillary.datasets.features import ClassLabel, Feature
from armillary.datasets.importing import labels as class_labels
from armillary.datasets.importing.columns import PLACE, SPLIT, typed_columns
from armillary.datasets.importing.downloads import MAX_DOWNLOAD_BYTES, local_copy
from armillary.datasets.importing.rejects import OnError, Rejects
from armillary.datasets.importing.split_folders import FOLDERS
from armillary.datasets.importing.table_folders import read_tables
from armillary.datasets.kept_together import divided
from armillary.datasets.names import one_or_several
from armillary.datasets.sameness import Units, duplicate_keys, keeps_duplicates
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.schemas import arrow_schema
from armillary.datasets.shards import ROW_GROUP, write_shards
from armillary.datasets.splits import DEFAULT_SHARES, Assignment, given
from armillary.datasets.store import check_name
from armillary.errors import DatasetError
from armillary.inputs.input_spec import table_spec

_ = translator(__file__)


def import_table(
    path: str | Path,
    name: str,
    target: str | None = None,
    *,
    text: str | Sequence[str] = (),
    split: Mapping[str, float] | None = DEFAULT_SHARES,
    seed: int = 0,
    encoding: str = "utf-8-sig",
    on_error: OnError = "stop",
    licence: str = "",
    progress: Callable[[int, int], None] | None = None,
    max_download_bytes: int = MAX_DOWNLOAD_BYTES,
) -> Dataset:
    """Save a CSV, JSON, Parquet or Arrow file, or several with the same columns, as a dataset.

    Numbers stay numbers, unless some begin with zeros (postcodes such as 01097); text with at most 50 different,
    repeated values becomes a category; other text is kept as such. Missing values are kept, counted in
    ``report["missing"]`` and read as the column's mean. In a column of numbers (at least nine of ten), a text is an
    error of its row.

    Parameters
    ----------
    path
        The file, its kind told by its name: ``.parquet``; ``.arrow`` or ``.feather``; ``.json`` (a list of objects)
        or ``.jsonl`` (one object a line); else CSV with a header, its columns divided by tabs, commas, semicolons or
        vertical bars (by what gives most of the first rows as many columns as the header), also compressed
        (``.csv.gz``, ``.bz2``, ``.xz``). Or a folder, a zip or a tar of such files, whose rows are put together; files
        or folders named train, validation and test keep that division. Or the URL of any of these.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    target
        The column with the class, if there is one.
    text
        The column, or columns, that are text even where they look like numbers or categories.
    split
        Share of each split, stratified by class; ``None`` puts everything into train.
    encoding
        Of a CSV or JSON file. A byte order mark is understood.
    on_error
        What happens to rows that cannot be used (too few or too many columns, wrong bytes, text among numbers, no
        class): they ``"stop"`` the import, which lists them; ``"skip"`` leaves them out and keeps place and reason in
        `Dataset.skipped`; ``"set_aside"`` keeps the rows there too.
    licence
        On what terms the data may be used.
    progress
        Called with the number of rows done and of all; of a URL first with its bytes.
    max_download_bytes
        Limit of what a URL brings.

    Raises
    ------
    DatasetError
        When the file cannot be read, has no such target or bad rows, a class has too few examples, or nothing can be
        written.
    """
    check_name(name)
    with local_copy(path, max_download_bytes, progress) as local:
        rejects = Rejects(on_error, local.path.name)
        frame = read_tables(local.path, encoding, rejects)
    if split is not DEFAULT_SHARES:
        frame = frame.drop(columns=SPLIT, errors="ignore")
    texts = one_or_several(text)
    _check_columns(frame, local.path.name, [*([target] if target is not None else []), *texts])
    return save_typed(
        frame, rejects, name, target, text=texts, split=split, seed=seed, step={"step": "import_table"},
        source=local.source, licence=licence, progress=progress,
    )  # fmt: skip


def save_typed(
    frame: pd.DataFrame,
    rejects: Rejects,
    name: str,
    target: str | None,
    *,
    text: Sequence[str] = (),
    declared: Sequence[str] = (),
    step: Mapping[str, Any],
    **options: Any,
) -> Dataset:
    """Save a table as it was read, its columns understood as `typed_columns` does."""
    total = len(frame) + len(rejects)
    divided_so = [SPLIT] if SPLIT in frame else []
    features, columns = typed_columns(frame, rejects, text=[*text, *divided_so], declared=declared, target=target)
    rejects.check(total)
    splits: list[str] | None = None
    if divided_so:
        splits, features = columns.pop(SPLIT).tolist(), {key: one for key, one in features.items() if key != SPLIT}
    codes: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    if target is not None:
        what = _("the values of column {column!r}", column=target)
        codes, names = class_labels.encode(columns.pop(target), None, what)
        features = {**{key: feature for key, feature in features.items() if key != target}, target: ClassLabel(names)}
    return save_frame(
        columns, codes, names, name, target, features=features, rejects=rejects, step=step, given_splits=splits,
        **options,
    )  # fmt: skip


def _check_columns(frame: pd.DataFrame, file: str, wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        listed = ", ".join(repr(column) for column in frame.columns[:50] if column != PLACE)
        raise DatasetError(
            _("{file} has no column {target!r}; columns: {listed}.", file=file, target=missing[0], listed=listed),
            _("Name one of these."),
        )


def save_frame(
    frame: pd.DataFrame,
    codes: NDArray[np.int64] | None,
    class_names: tuple[str, ...],
    name: str,
    target: str | None,
    *,
    split: Mapping[str, float] | None,
    seed: int,
    step: Mapping[str, Any],
    source: str,
    features: Mapping[str, Feature] | None = None,
    licence: str = "",
    rejects: Rejects | None = None,
    given_splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Save the input columns ``frame`` and the classes ``codes`` ``(n,)`` as the next version of ``name``."""
    if features is None:
        bad, total = Rejects("stop", source), len(frame)
        features, frame = typed_columns(frame, bad)
        bad.check(total)
        features = {**features, str(target): ClassLabel(class_names)}
    form = dict(features)
    inputs = {key: feature for key, feature in form.items() if key != target}
    matrix = stacked_columns(frame, inputs) if codes is not None else None
    table = frame if codes is None else frame.assign(**{str(target): codes})
    if given_splits is None:
        assignment = divided(codes, class_names, split, seed, _units(table, form, target))
    else:
        assignment = given(given_splits)

    def place(folder: Path) -> Placed:
        return Placed(
            shards=write_shards(folder, arrow_schema(form), _batches(table, arrow_schema(form), progress)),
            split=assignment,
            labels=codes,
            input=_spec(*matrix, assignment) if matrix is not None and matrix[1] else None,
            skipped_file=rejects.write(folder) if rejects else None,
            report={"missing": _missing(frame), **(rejects.report() if rejects else {})},
        )

    recipe = {**step, "target": target, "split": dict(split) if split else None, "seed": seed}
    recipe |= FOLDERS if given_splits is not None else {}
    return Dataset(save(name, Content(form, target, place, (recipe,), source, licence)))


def _units(table: pd.DataFrame, form: Mapping[str, Feature], target: str | None) -> Units:
    """Return which rows stay in one split: duplicates where the table is one of texts."""
    if not keeps_duplicates(form, target):
        return np.arange(len(table))
    keys = duplicate_keys(form, target)
    for batch in _batches(table, arrow_schema(form), None):
        keys.add(pa.Table.from_batches([batch]))
    return keys.units()


def _spec(values: NDArray[np.float32], names: tuple[str, ...], assignment: Assignment) -> Any:
    return table_spec(values[assignment.rows("train")], names)


def _missing(frame: pd.DataFrame) -> dict[str, int]:
    absent = {str(name): int(frame[name].isna().sum()) for name in frame.columns}
    return {name: count for name, count in absent.items() if count}


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
