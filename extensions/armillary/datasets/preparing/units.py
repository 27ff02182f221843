"""One unit of work: some row groups of a version become one shard, whoever does it, with the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import answering_in, translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.durable_files import new_file, write_text
from armillary.datasets.examples import stacked_columns
from armillary.datasets.features import ClassLabel, Value
from armillary.datasets.manifest import StoredFile
from armillary.datasets.media import LARGEST_IN_A_SHARD, put_beside
from armillary.datasets.plain_values import holds_media
from armillary.datasets.preparing.picture_steps import picture_of
from armillary.datasets.preparing.pipeline import Pipeline
from armillary.datasets.preparing.rows import PNG, Drawn, stored
from armillary.datasets.preparing.step import Bound, Refused, Row
from armillary.datasets.reading.row_groups import row_groups_of
from armillary.datasets.schemas import arrow_schema
from armillary.datasets.shards import ROW_GROUP, ROW_GROUP_BYTES, shard_writer

_ = translator(__file__)

SHARD, RESULT = "shard.parquet", "result.json"

#: A unit ends with the row group that brings it to so many bytes (uncompressed), or rows: pictures take longer.
UNIT_BYTES = 32 * 2**20
UNIT_ROWS, UNIT_ROWS_WITH_MEDIA = 16_384, 2_048


class CancelledError(Exception):
    """The preparation was cancelled while this unit was being done."""


@dataclass(frozen=True)
class Unit:
    """Some row groups that lie together, and their rows ``first`` to ``last - 1``: a function of the version alone."""

    number: int
    groups: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """What all units have in common; travels to workers.

    Attributes
    ----------
    splits
        The names of the splits.
    target
        The column with the class in what is made.
    has_moments
        Whether mean and deviation of each column are counted, as a table's model needs them.
    needed
        The columns in which every example has a value: the class, and the picture that models take.
    language
        Of reasons for which rows are refused.
    cancelled
        A file that appears when nobody wants the rest any more; None where a worker cannot see it.
    """

    pipeline: Pipeline
    splits: tuple[str, ...]
    has_moments: bool
    needed: tuple[str, ...]
    language: str
    cancelled: Path | None = None


@dataclass
class Done:
    """What came of a unit, without its rows.

    Attributes
    ----------
    codes, labels
        Split and class of each row of the shard.
    refused
        Rows of the old version that cannot be used, with reasons.
    moments
        For each column of a model's input number, mean and squared deviations of the training examples.
    media, media_before
        Long media that the unit made, and the names of those that lie beside the old version's shards.
    """

    shard: StoredFile | None = None
    codes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    media: list[StoredFile] = field(default_factory=list)
    media_before: list[str] = field(default_factory=list)
    moments: list[list[float]] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it beside the shard."""
        write_text(folder / RESULT, json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Done:
        """Return what ``write`` wrote."""
        values = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        values["shard"] = StoredFile(**values["shard"]) if values["shard"] else None
        values["media"] = [StoredFile(**file) for file in values["media"]]
        values["refused"] = [(row, reason) for row, reason in values["refused"]]
        return cls(**values)


def units_of(dataset: Dataset) -> list[Unit]:
    """Return the units of a version, in order."""
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    media = any(holds_media(feature) for feature in dataset.features.values())
    most = UNIT_ROWS_WITH_MEDIA if media else UNIT_ROWS
    ends = [*groups.starts[1:].tolist(), len(dataset)]
    units: list[Unit] = []
    begun, size = 0, 0
    for group, end in enumerate(ends):
        size += groups.footers[groups.shard[group]].row_group(groups.index[group]).total_byte_size
        first = int(groups.starts[begun])
        if size >= UNIT_BYTES or end - first >= most or group == len(ends) - 1:
            units.append(Unit(len(units), tuple(range(begun, group + 1)), first, end))
            begun, size = group + 1, 0
    return units


def do(plan: Plan, unit: Unit, codes: NDArray[np.int64], folder: Path) -> Done:
    """Write a unit's shard, long media and result into an empty folder.

    Parameters
    ----------
    codes
        The split of each row of the unit.
    """
    with answering_in(plan.language):
        done = _Writer(plan, folder).write(unit, codes)
    done.write(folder)
    return done


def learn(plan: Plan, unit: Unit, codes: NDArray[np.int64], steps: Sequence[Bound]) -> list[Any]:
    """Return what a unit's training examples teach each of some steps."""
    known = [step.step.start(step) for step in steps]
    train = plan.splits.index("train")
    for row in _rows(plan, unit, codes, codes == train):
        if isinstance(row, Row):
            for step, each in zip(steps, known, strict=True):
                step.step.see(each, row, step)
    return known


def _rows(
    plan: Plan, unit: Unit, codes: NDArray[np.int64], wanted: NDArray[np.bool_] | None = None
) -> Iterator[Row | Refused]:
    dataset = plan.pipeline.dataset
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    numbers = np.arange(unit.first, unit.last)
    of = groups.of(numbers)
    for group in unit.groups:
        if plan.cancelled is not None and plan.cancelled.exists():
            raise CancelledError
        here = (of == group) if wanted is None else (of == group) & wanted
        if here.any():
            splits = [plan.splits[code] for code in codes[here].tolist()]
            yield from plan.pipeline.rows(group, numbers[here], splits)


class _Writer:
    """Writes the rows of a unit as row groups of about 256, or of fewer large ones."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._form = plan.pipeline.form
        self._schema = arrow_schema(self._form.features)
        plain = (Value, ClassLabel)
        self._not_plain = [(name, each) for name, each in self._form.features.items() if not isinstance(each, plain)]
        self._media: dict[str, StoredFile] = {}
        self._before: dict[str, None] = {}
        self._bytes = 0
        self._done = Done()
        self._moments = _Moments()

    def write(self, unit: Unit, codes: NDArray[np.int64]) -> Done:
        done = self._done
        batches = self._batches(_rows(self._plan, unit, codes))
        first = next(batches, None)
        if first is not None:
            with new_file(self._folder / SHARD) as file:
                with shard_writer(file, self._schema) as writer:
                    batch: pa.RecordBatch | None = first
                    while batch is not None:
                        writer.write_batch(batch, row_group_size=len(batch))
                        batch = next(batches, None)
                done.shard = file.commit(len(done.codes))
        done.media, done.media_before = list(self._media.values()), list(self._before)
        done.moments = self._moments.listed()
        return done

    def _batches(self, rows: Iterator[Row | Refused]) -> Iterator[pa.RecordBatch]:
        values: list[dict[str, Any]] = []
        train: list[bool] = []
        for row in rows:
            if isinstance(row, Refused):
                self._done.refused.append((row.number, row.reason))
                continue
            missing = next((column for column in self._plan.needed if row.values[column] is None), None)
            if missing is not None:
                self._done.refused.append((row.number, _("no value for {target!r}", target=missing)))
                continue
            values.append(self._stored(row))
            train.append(row.split == "train")
            if len(values) == ROW_GROUP or self._bytes > ROW_GROUP_BYTES:
                yield self._batch(values, train)
                values, train, self._bytes = [], [], 0
        if values:
            yield self._batch(values, train)

    def _batch(self, values: list[dict[str, Any]], train: list[bool]) -> pa.RecordBatch:
        batch = pa.RecordBatch.from_pylist(values, schema=self._schema)
        if self._plan.has_moments:
            inputs = {name: feature for name, feature in self._form.features.items() if name != self._form.target}
            numbers = stacked_columns(pa.Table.from_batches([batch]).to_pandas(), inputs)[0]
            self._moments.add(numbers[np.array(train)])
        return batch

    def _stored(self, row: Row) -> dict[str, Any]:
        form, values = self._form, row.values
        found = {name: values[name] for name in form.features}
        for name, feature in self._not_plain:
            value, options = values[name], PNG
            self._bytes += value.nbytes if isinstance(value, np.ndarray) else 0
            pictures = form.pictures.get(name)
            if pictures is not None and pictures.options is not None:
                options, value = dict(pictures.options), _drawn(value, pictures.channels)
            found[name] = stored(feature, value, self._keep, options)
        self._done.codes.append(self._plan.splits.index(row.split))
        if form.target is not None:
            self._done.labels.append(found[form.target])
        return found

    def _keep(self, data: bytes | None, path: str) -> dict[str, Any]:
        if data is None:
            self._before[path] = None
            return {"bytes": None, "path": path}
        if len(data) <= LARGEST_IN_A_SHARD:
            self._bytes += len(data)
            return {"bytes": data, "path": path or None}
        file = put_beside(self._folder, data, path)
        self._media.setdefault(file.file, file)
        return {"bytes": None, "path": file.file}


def _drawn(value: Any, channels: int) -> Any:
    """Return pictures decoded, so that all are stored in the one format."""
    if isinstance(value, list):
        return [_drawn(each, channels) for each in value]
    return value if value is None or isinstance(value, Drawn) else Drawn(picture_of(value, channels), value.path)


class _Moments:
    """Number, mean and squared deviations of the finite values of each column, part by part (Chan et al., 1979)."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[np.float32]) -> None:
        known = np.ma.masked_invalid(values.astype(np.float64))
        n = known.count(axis=0).astype(np.float64)
        mean = np.ma.filled(known.mean(axis=0), 0.0) if len(values) else np.zeros(values.shape[1])
        squares = np.ma.filled(((known - mean) ** 2).sum(axis=0), 0.0) if len(values) else np.zeros(values.shape[1])
        self._parts.append(np.stack([n, mean, squares]))

    def listed(self) -> list[list[float]]:
        return merged(self._parts).tolist() if self._parts else []


def merged(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the moments ``(3, columns)`` of all parts together, in their order."""
    total = parts[0]
    for part in parts[1:]:
        n = total[0] + part[0]
        share = np.divide(part[0], n, out=np.zeros_like(n), where=n > 0)
        delta = part[1] - total[1]
        total = np.stack([n, total[1] + delta * share, total[2] + part[2] + delta**2 * total[0] * share])
    return total
