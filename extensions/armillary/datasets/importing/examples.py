"""Import of examples one by one: the way that every import of files ends in, and one's own code may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict, Unpack

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import ClassLabel, Feature
from armillary.datasets.importing.encoding import encode_example
from armillary.datasets.importing.rejects import BadExampleError, OnError, Rejects
from armillary.datasets.kept_together import divided
from armillary.datasets.manifest import StoredFile
from armillary.datasets.media import LARGEST_IN_A_SHARD, put_beside
from armillary.datasets.sameness import RowKeys, duplicate_keys, keeps_duplicates
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.schemas import arrow_schema, checked_features
from armillary.datasets.shards import ROW_GROUP, ROW_GROUP_BYTES, write_shards
from armillary.datasets.splits import DEFAULT_SHARES, Assignment, checked_shares, given
from armillary.datasets.store import check_name
from armillary.errors import DatasetError

_ = translator(__file__)


class SaveOptions(TypedDict, total=False):
    """How an import saves what it reads.

    Attributes
    ----------
    split
        Share of each split, stratified by the target if there is one, duplicates in the same one; ``None`` puts
        everything into train. `Dataset.split` divides by group, by time or by a column.
    seed
        Of the split.
    on_error
        Examples that cannot be used ``"stop"`` the import, which then lists them; ``"skip"`` leaves them out and keeps
        place and reason in `Dataset.skipped`; ``"set_aside"`` keeps their data there too.
    licence, source
        On what terms the data may be used, and where they came from (the path, unless given).
    progress
        Called with the number of examples done and of all, 0 when that is not known; of a URL first with its bytes.
    max_download_bytes
        Limit of what a URL brings, 64 GiB by default.
    """

    split: Mapping[str, float] | None
    seed: int
    on_error: OnError
    licence: str
    source: str
    progress: Callable[[int, int], None] | None
    max_download_bytes: int


class DownloadOptions(TypedDict, total=False):
    """The part of `SaveOptions` that `downloads.local_copy` takes."""

    max_bytes: int
    progress: Callable[[int, int], None] | None


def download_options(options: SaveOptions) -> DownloadOptions:
    """Return how a URL is fetched."""
    limit: DownloadOptions = {"max_bytes": options["max_download_bytes"]} if "max_download_bytes" in options else {}
    return {**limit, "progress": options.get("progress")}


@dataclass(frozen=True)
class Row:
    """One example to be.

    Attributes
    ----------
    place
        Its file or row, as an error names it.
    read
        Returns its values by column; raises BadExampleError.
    raw
        Returns what is set aside when it cannot be used; its values as text unless given.
    split
        The split that the source gives it.
    """

    place: str
    read: Callable[[], Mapping[str, Any]]
    raw: Callable[[], bytes] | None = None
    split: str | None = None


def import_examples(
    examples: Iterable[Mapping[str, Any]],
    features: Mapping[str, Feature],
    name: str,
    *,
    target: str | None = None,
    **options: Unpack[SaveOptions],
) -> Dataset:
    """Save examples of any kind as a dataset.

    Parameters
    ----------
    examples
        One mapping of columns to values each; any iterable, read once. Classes are given by name or index, images,
        sounds and videos as bytes or `pathlib.Path`; a missing value is None.
    features
        The feature of each column.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    target
        The column with the class, if there is one.
    options
        See `SaveOptions`.

    Raises
    ------
    DatasetError
        When an example does not fit the features, or nothing can be written.

    Examples
    --------
    >>> features = {"picture": Image(), "caption": Value("string")}
    >>> datasets.import_examples([{"picture": Path("crow.png"), "caption": "A crow."}], features, "birds", split=None)
    <Dataset birds@1: 1 examples (image + text); train 1>
    """
    in_words = _("example {n}")  # translated once, not for every row
    rows = (
        Row(in_words.format(n=number), lambda example=example: example)  # type: ignore[misc]
        for number, example in enumerate(examples, 1)
    )
    options.setdefault("source", _("examples in memory"))
    return save_rows(rows, features, name, target, {"step": "import_examples"}, **options)


def save_rows(
    rows: Iterable[Row],
    features: Mapping[str, Feature],
    name: str,
    target: str | None,
    step: Mapping[str, Any],
    *,
    total: int = 0,
    ignored: Iterable[Mapping[str, str]] = (),
    split_names: Sequence[str] = (),
    **options: Unpack[SaveOptions],
) -> Dataset:
    """Save rows as the next version of ``name``; ``step`` is the first of its recipe.

    ``split_names`` are the splits of a source that has some, empty ones too.
    """
    check_name(name)
    form = checked_features(features)
    _check_target(form, target)
    split, seed = options.get("split", DEFAULT_SHARES), options.get("seed", 0)
    checked_shares(split)
    source = options.get("source", "")
    content = Content(
        features=form,
        target=target,
        place=lambda folder: writer.place(folder, rows, split, seed, options.get("progress"), total, list(ignored)),
        recipe=({"target": target, "split": dict(split) if split else None, "seed": seed, **step},),
        source=source,
        licence=options.get("licence", ""),
    )
    rejects = Rejects(options.get("on_error", "stop"), PurePosixPath(source).name or source)
    writer = _Writer(form, target, rejects, split_names)
    return Dataset(save(name, content))


def _check_target(features: Mapping[str, Feature], target: str | None) -> None:
    if not features:
        raise DatasetError(_("There are no columns."), _("Give a feature for each."))
    if target is not None and not isinstance(features.get(target), ClassLabel):
        listed = ", ".join(repr(name) for name, feature in features.items() if isinstance(feature, ClassLabel))
        if not listed:
            what = _("The target {target!r} is no column with classes; there is none.", target=target)
            raise DatasetError(what, _("Name no target, or make classes of a column before."))
        raise DatasetError(
            _("The target {target!r} is no column with classes; these are: {listed}.", target=target, listed=listed),
            _("Name one of these, or none."),
        )


def _as_text(row: Row) -> bytes:
    """Return the values of a row that comes from no file, to be set aside."""
    return repr(row.read()).encode("utf-8", "backslashreplace")


@dataclass
class _Writer:
    """Writes rows into a folder, and keeps what is known of them afterwards."""

    features: dict[str, Feature]
    target: str | None
    rejects: Rejects
    split_names: Sequence[str] = ()
    labels: list[int] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    media: dict[str, StoredFile] = field(default_factory=dict)
    seen: int = 0
    _bytes: int = 0

    def place(
        self,
        folder: Path,
        rows: Iterable[Row],
        split: Mapping[str, float] | None,
        seed: int,
        progress: Callable[[int, int], None] | None,
        total: int,
        ignored: list[Mapping[str, str]],
    ) -> Placed:
        """Write the rows and say what they are."""
        batches = self._batches(folder, rows, progress, total)
        keys = duplicate_keys(self.features, self.target)
        shards = write_shards(folder, arrow_schema(self.features), keys.noting(batches))
        self.rejects.check(self.seen)
        if not shards:
            raise DatasetError(_("There are no examples."), _("Give at least one."))
        labels = np.array(self.labels, np.int64) if self.target is not None else None
        return Placed(
            shards=shards,
            split=self._assignment(labels, split, seed, keys),
            labels=labels,
            media=tuple(self.media.values()),
            skipped_file=self.rejects.write(folder),
            report={**self.rejects.report(), **({"ignored": ignored} if ignored else {})},
        )

    def _assignment(self, labels: Any, split: Mapping[str, float] | None, seed: int, keys: RowKeys) -> Assignment:
        if any(name is not None for name in self.splits):
            return given([name or "train" for name in self.splits], self.split_names)
        names = getattr(self.features.get(str(self.target)), "names", ())
        together = keeps_duplicates(self.features, self.target)
        return divided(labels, names, split, seed, keys.units() if together else np.arange(len(self.splits)))

    def _batches(
        self, folder: Path, rows: Iterable[Row], progress: Callable[[int, int], None] | None, total: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield row groups: of 256 examples, or of fewer large ones."""
        schema = arrow_schema(self.features)
        batch: list[dict[str, Any]] = []
        for row in rows:
            self.seen += 1
            example = self._encoded(row, folder)
            if example is not None:
                batch.append(example)
                self._bytes += sum(len(value) for value in example.values() if isinstance(value, str))
            if len(batch) == ROW_GROUP or self._bytes > ROW_GROUP_BYTES:
                yield pa.RecordBatch.from_pylist(batch, schema=schema)
                batch, self._bytes = [], 0
            if progress and (self.seen % ROW_GROUP == 0 or self.seen == total):
                progress(self.seen, total)
        if batch:
            yield pa.RecordBatch.from_pylist(batch, schema=schema)

    def _encoded(self, row: Row, folder: Path) -> dict[str, Any] | None:
        kept = len(self.media)
        try:
            example = encode_example(self.features, row.read(), lambda data, path: self._keep(folder, data, path))
            if self.target is not None:
                if example[self.target] is None:
                    raise BadExampleError(_("no value for {target!r}", target=self.target))
                self.labels.append(example[self.target])
        except BadExampleError as error:
            self._drop(folder, list(self.media)[kept:])
            self.rejects.add(row.place, str(error), row.raw or partial(_as_text, row))
            return None
        self.splits.append(row.split)
        return example

    def _drop(self, folder: Path, places: list[str]) -> None:
        """Remove the large files of an example that cannot be used after all."""
        for place in places:
            (folder / place).unlink()
            del self.media[place]

    def _keep(self, folder: Path, data: bytes, path: str) -> dict[str, Any]:
        """Return the value that a shard keeps of a file, and put a large one beside the shards."""
        if len(data) <= LARGEST_IN_A_SHARD:
            self._bytes += len(data)
            return {"bytes": data, "path": path or None}
        file = put_beside(folder, data, path)
        self.media.setdefault(file.file, file)
        return {"bytes": None, "path": file.file}
