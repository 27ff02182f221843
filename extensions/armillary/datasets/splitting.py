"""A version divided anew: at random, by group, by time or as a column says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import shards
from armillary.datasets.copying import same_rows
from armillary.datasets.kept_together import by_names, by_time, divided
from armillary.datasets.sameness import RowKeys, Units, duplicate_keys, joined, keeps_duplicates, unit_rows
from armillary.datasets.saving import save
from armillary.datasets.splits import Assignment
from armillary.datasets.store import check_name
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec, table_spec

if TYPE_CHECKING:
    from armillary.datasets.dataset import Dataset
    from armillary.datasets.places import Place

_ = translator(__file__)


def split(
    dataset: Dataset,
    shares: dict[str, float],
    seed: int,
    group: str | Sequence[str] | None,
    time: str | None,
    column: str | None,
    duplicates: bool | None,
    name: str | None,
    progress: Callable[[int, int], None] | None,
) -> Place:
    """Save a version of ``dataset``, divided as `Dataset.split` says; return its folder."""
    ways = {"group": group, "time": time, "column": column}
    chosen = {name: way for name, way in ways.items() if way}
    if len(chosen) > 1:
        raise DatasetError(_("Both {ways} are given.", ways=_(" and ").join(chosen)), _("Give one of them."))
    groups = [*group] if isinstance(group, Iterable) and not isinstance(group, str) else [group] if group else []
    ways_to_keep = (_groups(dataset, groups), _duplicates(dataset, duplicates, groups, time, column))
    grouped, same = _units(dataset, ways_to_keep, progress)
    if column:
        assignment = by_names(_values(dataset, column).astype(object).tolist(), column)
        _refuse_parted(assignment, same, column)
    elif time:
        assignment = by_time(_times(dataset, time), shares, same)
    else:
        ways_together = [way for way in (grouped, same) if way is not None]
        units = joined(*ways_together) if ways_together else np.arange(len(dataset))
        labels = dataset.labels(None) if dataset.target is not None else None
        assignment = divided(labels, dataset.class_names, shares, seed, units, strict=bool(group))
    step = {"step": "split", **({} if column else {**shares, "seed": seed}), **chosen}
    step |= {} if duplicates is None else {"duplicates": duplicates}
    content = same_rows(dataset, assignment, lambda: _spec_of(dataset, assignment), step)
    return save(check_name(name) if name is not None else dataset.name, content, dataset.store)


def _spec_of(dataset: Dataset, assignment: Assignment) -> InputSpec | None:
    spec = dataset.manifest.input
    if spec is None or spec.kind == "image":
        return spec
    again = table_spec(dataset.raw_examples.take(assignment.rows("train")), spec.columns)
    return replace(again, preparation=spec.preparation)


def _groups(dataset: Dataset, columns: Sequence[str]) -> RowKeys | None:
    return RowKeys(dataset.features_named(columns), missing_apart=True) if columns else None


def _duplicates(
    dataset: Dataset, wanted: bool | None, group: Sequence[str], time: str | None, column: str | None
) -> RowKeys | None:
    """Return the keys of examples that are the same in all but their class and what divides them."""
    content = {name: part for name, part in dataset.features.items() if name not in (*group, time, column)}
    together = keeps_duplicates(content, dataset.target) if wanted is None else wanted
    keys = duplicate_keys(content, dataset.target)
    return keys if together and keys.columns else None


def _units(
    dataset: Dataset, ways: Sequence[RowKeys | None], progress: Callable[[int, int], None] | None
) -> list[Units | None]:
    """Return the units of each way to keep examples together, None where it keeps none; the rows are read once."""
    chosen = [keys for keys in ways if keys is not None]
    columns = list(dict.fromkeys(column for keys in chosen for column in keys.columns))
    done = 0
    for rows in shards.row_groups(dataset.folder, dataset.manifest.shards, columns) if chosen else ():
        for keys in chosen:
            keys.add(rows)
        done += len(rows)
        if progress:
            progress(done, len(dataset))
    return [None if keys is None else keys.units() for keys in ways]


def _values(dataset: Dataset, column: str) -> pd.Series:
    """Return a column that has a value in every row, classes by name."""
    from armillary.datasets.reading.frames import to_pandas

    values = to_pandas(dataset, None, [column])[column]
    if missing := int(values.isna().sum()):
        what = _(
            "{n} examples of {dataset} have no value in {column!r}.",
            n=missing,
            dataset=dataset.reference,
            column=column,
        )
        raise DatasetError(what, _("Save the dataset without them, or with these values."))
    return values


def _times(dataset: Dataset, column: str) -> NDArray[Any]:
    """Return what orders the rows: numbers, or times, which may be written as in ISO 8601."""
    values = _values(dataset, column)
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return values.to_numpy()
    try:
        return pd.to_datetime(values.astype(object), format="ISO8601", utc=True).to_numpy()
    except (ValueError, TypeError) as error:
        what = _(
            "The values of {column!r} in {dataset} are no times: {error}.",
            column=column,
            dataset=dataset.reference,
            error=str(error).partition(".")[0],
        )
        remedy = _("Give a column of numbers or times; texts as 2026-01-31 or 2026-01-31T12:00:00.")
        raise DatasetError(what, remedy) from error


def _refuse_parted(assignment: Assignment, same: Units | None, column: str) -> None:
    """Refuse a split that parts duplicates although it is not ours to change."""
    if same is None:
        return
    parted = sum(len(np.unique(assignment.codes[rows])) > 1 for rows in unit_rows(same))
    if parted:
        what = _("{n} examples have duplicates in another split of column {column!r}.", n=parted, column=column)
        raise DatasetError(what, _("Correct the column, or accept them with duplicates=False."))
