"""The next version from the one edited: shards are shared where nothing changed, else written again.

A row group is read, changed and written before the next is read. Rewritten shards keep their names and the borders of
their row groups, so the same changes give the same bytes, wherever they are saved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.durable_files import new_file
from armillary.datasets.editing.changes import Overlay, Step
from armillary.datasets.examples import stacked_columns
from armillary.datasets.features import Feature
from armillary.datasets.manifest import StoredFile
from armillary.datasets.saving import Content, Placed
from armillary.datasets.schemas import arrow_schema
from armillary.datasets.shards import link_files, read_files
from armillary.datasets.splits import Assignment, given
from armillary.datasets.verified_files import verified_file
from armillary.errors import DatasetError
from armillary.inputs.input_spec import InputSpec, table_spec
from armillary.inputs.preparation import Preparation, RawField

_ = translator(__file__)

#: So many changed rows are listed in a recipe; more are told by their number and hash.
LISTED_IN_RECIPE = 100
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NetChanges:
    """What all steps come to.

    Attributes
    ----------
    values
        Per column, the new stored value of rows that are not removed.
    removed, splits
        The rows that go, and the new split of those that move to another one.
    added
        Columns that the version edited lacks.
    """

    values: dict[str, dict[int, Any]]
    removed: tuple[int, ...]
    splits: dict[int, str]
    added: dict[str, Feature]

    @classmethod
    def of(cls, dataset: Dataset, overlay: Overlay) -> NetChanges:
        """Return what the steps of an overlay come to."""
        removed = overlay.removed
        values = {}
        for name, rows in overlay.values.items():
            kept = {row: value for row, value in rows.items() if row not in removed}
            if name == dataset.target:
                labels = dataset.labels(None)
                kept = {row: value for row, value in kept.items() if labels[row] != value}
            if kept:
                values[name] = dict(sorted(kept.items()))
        before = dataset.assignment
        splits = {
            row: split
            for row, split in sorted(overlay.splits.items())
            if row not in removed and before.names[before.codes[row]] != split
        }
        added = {name: feature for name, (feature, _is_target) in overlay.added.items()}
        return cls(values, tuple(sorted(removed)), splits, added)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows of which something stored in shards changes, in order."""
        return np.array(sorted({*self.removed, *(row for rows in self.values.values() for row in rows)}), np.int64)

    def listed(self) -> list[dict[str, Any]]:
        """Return the changes as plain data, one entry for each row, in order."""
        entries: dict[int, dict[str, Any]] = {row: {"removed": True} for row in self.removed}
        for name, rows in self.values.items():
            for row, value in rows.items():
                entries.setdefault(row, {}).setdefault("set", {})[name] = value
        for row, split in self.splits.items():
            entries.setdefault(row, {})["split"] = split
        return [{"row": row, **entries[row]} for row in sorted(entries)]


def content_of(
    dataset: Dataset,
    net: NetChanges,
    features: Mapping[str, Feature],
    target: str | None,
    steps: Sequence[Step],
    progress: Progress | None = None,
) -> Content:
    """Return the version that changes make of ``dataset``.

    Raises
    ------
    DatasetError
        When no example is left, or some lack a class.
    """
    if len(net.removed) == len(dataset):
        raise DatasetError(
            _("No example of {reference} is left.", reference=dataset.reference), _("Undo some of the removals.")
        )
    if target in net.added:
        _require_classes(dataset, net, str(target))
    return Content(
        features=dict(features),
        target=target,
        place=lambda folder: _placed(folder, dataset, net, dict(features), target, progress),
        recipe=(_recipe_step(dataset, net, steps),),
        source=dataset.manifest.source,
        licence=dataset.manifest.licence,
        parent=dataset.reference,
    )


def _require_classes(dataset: Dataset, net: NetChanges, target: str) -> None:
    missing = len(dataset) - len(net.removed) - len(net.values.get(target, {}))
    if missing:
        raise DatasetError(
            _("{n:,} examples have no {target!r} yet.", n=missing, target=target),
            _("Label them, remove them, or add the column without target=True."),
        )


def _recipe_step(dataset: Dataset, net: NetChanges, steps: Sequence[Step]) -> dict[str, Any]:
    changes = net.listed()
    hashed = hashlib.sha256(json.dumps(changes, sort_keys=True, default=repr).encode()).hexdigest()
    columns = {name: len(rows) for name, rows in net.values.items()}
    sources = sorted({change.source for step in steps for change in step if change.source})
    step: dict[str, Any] = {
        "step": "edit",
        "set": columns,
        "removed": len(net.removed),
        "moved": len(net.splits),
        "sha256": hashed,
    }
    if net.added:
        step["added"] = {name: feature.to_json() for name, feature in net.added.items()}
    if sources:
        step["sources"] = sources
    if len(changes) <= LISTED_IN_RECIPE:
        step["changes"] = json.loads(json.dumps(changes, default=repr))
    return step


def _placed(
    folder: Path,
    dataset: Dataset,
    net: NetChanges,
    features: dict[str, Feature],
    target: str | None,
    progress: Progress | None,
) -> Placed:
    manifest = dataset.manifest
    kept = np.ones(len(dataset), bool)
    kept[list(net.removed)] = False
    shards = _write(folder, dataset, net, features, progress)
    assignment = _assignment(dataset, net, kept)
    media = _media_in_use(folder, dataset, shards) if manifest.media and net.removed else manifest.media
    skipped = link_files(folder, dataset.folder, [manifest.skipped_file] if manifest.skipped_file else [])
    return Placed(
        shards=shards,
        split=assignment,
        labels=_labels(dataset, net, target)[kept] if target is not None else None,
        input=_input_spec(folder, dataset, shards, features, target, assignment),
        media=link_files(folder, dataset.folder, media),
        skipped_file=next(iter(skipped), None),
        report=dataset.report,
    )


def _assignment(dataset: Dataset, net: NetChanges, kept: NDArray[np.bool_]) -> Assignment:
    before = dataset.assignment
    names = list(before.names) + sorted(set(net.splits.values()) - set(before.names))
    codes = before.codes.copy()
    for row, split in net.splits.items():
        codes[row] = names.index(split)
    codes = codes[kept]
    present = [names[code] for code in np.unique(codes)]
    ordered = given(present).names
    place = np.zeros(len(names), np.int64)
    for index, name in enumerate(ordered):
        place[names.index(name)] = index
    return Assignment(ordered, place[codes])


def _labels(dataset: Dataset, net: NetChanges, target: str | None) -> NDArray[np.int64]:
    labels = np.zeros(len(dataset), np.int64) if target in net.added else dataset.labels(None).copy()
    for row, value in net.values.get(str(target), {}).items():
        labels[row] = value
    return labels


def _input_spec(
    folder: Path,
    dataset: Dataset,
    shards: tuple[StoredFile, ...],
    features: Mapping[str, Feature],
    target: str | None,
    assignment: Assignment,
) -> InputSpec | None:
    """Return the form that models take: that of a table has the mean of its training examples."""
    spec = dataset.manifest.input
    if spec is None or spec.kind == "image":
        return spec
    inputs = {name: feature for name, feature in features.items() if name != target}
    values, columns = stacked_columns(read_files(folder, shards, list(inputs)).to_pandas(), inputs)
    train = assignment.rows("train") if "train" in assignment.names else np.arange(len(values))
    preparation = _with_fields(spec.preparation, dataset, inputs)
    return replace(table_spec(values[train], columns), preparation=preparation)


def _with_fields(
    preparation: Preparation | None, dataset: Dataset, inputs: Mapping[str, Feature]
) -> Preparation | None:
    """Return the steps that travel with a model of the table, which is asked for added columns, too."""
    if preparation is None:
        return None
    new = {name: feature for name, feature in inputs.items() if name not in dataset.features}
    fields = (RawField(name, getattr(feature, "names", ())) for name, feature in new.items())
    return replace(preparation, fields=(*preparation.fields, *fields))


def _write(
    folder: Path, dataset: Dataset, net: NetChanges, features: dict[str, Feature], progress: Progress | None
) -> tuple[StoredFile, ...]:
    """Give ``folder`` the shards of the new version."""
    shards: list[StoredFile] = []
    changed, first = net.rows, 0
    for file in dataset.manifest.shards:
        touched = np.searchsorted(changed, first) < np.searchsorted(changed, first + file.rows)
        if touched or net.added:
            shards += _rewritten(folder / file.file, verified_file(dataset.folder, file), features, net, first)
        else:
            shards += link_files(folder, dataset.folder, [file])
        first += file.rows
        if progress:
            progress(first, len(dataset))
    return tuple(shards)


def _rewritten(new: Path, old: Path, features: dict[str, Feature], net: NetChanges, first: int) -> Iterator[StoredFile]:
    """Write a shard again; yields nothing when no row of it is left."""
    schema = arrow_schema(features)
    groups = _changed_groups(old, schema, net, first)
    group = next(groups, None)
    if group is None:
        return
    with new_file(new) as file:
        rows = 0
        with pq.ParquetWriter(pa.PythonFile(file, "w"), schema, compression="zstd") as writer:
            while group is not None:
                writer.write_table(group, row_group_size=len(group))
                rows += len(group)
                group = next(groups, None)
        yield file.commit(rows)


def _changed_groups(old: Path, schema: pa.Schema, net: NetChanges, first: int) -> Iterator[pa.Table]:
    removed = np.array(net.removed, np.int64)
    with pq.ParquetFile(old, memory_map=True) as parquet:
        for index in range(parquet.num_row_groups):
            group = parquet.read_row_group(index)
            numbers = np.arange(first, first + len(group))
            first += len(group)
            columns = [_changed_column(group, field, net, numbers) for field in schema]
            table = pa.Table.from_arrays(columns, schema=schema)
            kept = ~np.isin(numbers, removed)
            if kept.any():
                yield table if kept.all() else table.filter(pa.array(kept))


def _changed_column(
    group: pa.Table, field: pa.Field, net: NetChanges, numbers: NDArray[np.int64]
) -> pa.ChunkedArray | pa.Array:
    changes = net.values.get(field.name, {})
    here = [int(row) for row in numbers if int(row) in changes] if changes else []
    present = group.column(field.name) if field.name in group.column_names else None
    if present is not None and not here:
        return present if present.type == field.type else present.cast(field.type)
    values = present.to_pylist() if present is not None else [None] * len(numbers)
    for row in here:
        values[row - int(numbers[0])] = changes[row]
    return pa.array(values, field.type)


def _media_in_use(folder: Path, dataset: Dataset, shards: tuple[StoredFile, ...]) -> tuple[StoredFile, ...]:
    """Return the files beside the shards that examples still refer to: a removed one's video goes with it."""
    used: set[str] = set()
    for shard in shards:
        with pq.ParquetFile(folder / shard.file) as parquet:
            leaves = [parquet.schema.column(index).path for index in range(len(parquet.schema))]
            paths = [leaf for leaf in leaves if leaf.endswith(".path")]
            for index in range(parquet.num_row_groups):
                used.update(_texts_in(parquet.read_row_group(index, columns=paths).to_pylist()))
    return tuple(file for file in dataset.manifest.media if file.file in used)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part)
