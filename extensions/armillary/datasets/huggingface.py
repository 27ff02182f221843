"""To and from Hugging Face ``datasets``, exactly: the same features, rows and splits on both sides."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets import shards
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import Audio, ClassLabel, Feature, Image, TokenLabels, Video
from armillary.datasets.importing.examples import Row, SaveOptions, save_rows
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.plain_values import holds_media, with_media
from armillary.datasets.schemas import features_from_json, features_to_json
from armillary.datasets.verified_files import verified_file
from armillary.errors import DatasetError

if TYPE_CHECKING:
    import datasets as hf

_ = translator(__file__)


def to_huggingface(data: Dataset | str) -> hf.DatasetDict:
    """Return a ``datasets.DatasetDict`` with the splits of a dataset.

    The rows lie in Arrow files in Hugging Face's own cache and are mapped into memory, so the dataset may be larger
    than that. Long videos and sounds stay where they are, beside the shards.

    Raises
    ------
    DatasetError
        When a shard is damaged, or the cache cannot be written.

    Examples
    --------
    >>> datasets.to_huggingface("birds@1")["train"].features
    {'image': Image(), 'label': ClassLabel(names=['crow', 'owl'])}
    """
    library = _library()
    dataset = open_dataset(data)
    features = library.Features.from_dict(features_to_json(dataset.features))
    folder = Path(library.config.HF_DATASETS_CACHE) / "armillary" / _fingerprint(dataset)
    splits = {}
    for split in dataset.splits:
        file = folder / f"{quote(split, safe='')}.arrow"  # somebody else's dataset names its splits
        if not file.exists():
            try:
                _write(dataset, split, features.arrow_schema, file)
            except OSError as error:
                what = _("{folder} cannot be written: {reason}.", folder=folder, reason=error.strerror or error)
                raise DatasetError(what, _("Free space or set HF_DATASETS_CACHE to another disk.")) from error
        splits[split] = library.Dataset.from_file(str(file))
    return library.DatasetDict(splits)


def _fingerprint(dataset: Dataset) -> str:
    described = repr((dataset.manifest.content, str(dataset.folder)))
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _write(dataset: Dataset, split: str, schema: pa.Schema, file: Path) -> None:
    """Write one split as an Arrow stream, which appears when it is whole."""
    from datasets.table import table_cast

    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    wanted = np.zeros(len(dataset), bool)
    wanted[dataset.rows(split)] = True
    try:
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            first = 0
            for group in shards.row_groups(dataset.folder, dataset.manifest.shards):
                here = np.flatnonzero(wanted[first : first + len(group)])
                first += len(group)
                if len(here):
                    stream.write_table(table_cast(_with_paths(group.take(here), dataset), schema))
        aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)


def _with_paths(table: pa.Table, dataset: Dataset) -> pa.Table:
    """Return the rows with the whole paths of what lies beside the shards."""
    if not dataset.manifest.media:
        return table
    beside = {file.file: str(verified_file(dataset.folder, file)) for file in dataset.manifest.media}

    def found(medium: dict[str, Any]) -> dict[str, Any]:
        if medium["bytes"] is not None:
            return medium
        return {"bytes": None, "path": beside.get(medium["path"], medium["path"])}

    for column, (name, feature) in enumerate(dataset.features.items()):
        if holds_media(feature):
            values = [with_media(feature, value, found) for value in table.column(name).to_pylist()]
            table = table.set_column(column, name, pa.array(values, table.schema.field(column).type))
    return table


def from_huggingface(
    data: hf.Dataset | hf.DatasetDict | str,
    name: str,
    *,
    target: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    **options: Unpack[SaveOptions],
) -> Dataset:
    """Save a dataset of Hugging Face's as a dataset here, with its features and splits.

    Parameters
    ----------
    data
        A ``datasets.Dataset`` or ``DatasetDict``, or the name of one on the Hugging Face hub (or a folder), which
        ``datasets.load_dataset`` loads. No code that comes with a dataset is run.
    name
        The dataset's name here. When it is taken by a dataset of the same form, this becomes its next version.
    target
        The column with the class; the only `ClassLabel` column unless given.
    config, revision
        Of a dataset of the hub: which of its configurations, and which commit or tag.
    options
        See `SaveOptions`; ``split`` divides a dataset that has no splits.

    Raises
    ------
    DatasetError
        When it cannot be loaded, has a feature that is unknown here, an example cannot be used, or nothing can be
        written.
    """
    library = _library()
    options.setdefault("source", source_of(data, config, revision))
    if isinstance(data, str):
        data = loaded(data, config, revision)
    parts: Mapping[str | None, Any] = data if isinstance(data, library.DatasetDict) else {None: data}
    if not parts or not all(isinstance(part, library.Dataset) for part in parts.values()):
        what = _("{kind} is no dataset of Hugging Face's with rows.", kind=type(data).__name__)
        raise DatasetError(what, _("Give a Dataset, or a DatasetDict of such."))
    features = _features(parts)
    undecoded = {split: part.with_format("arrow") for split, part in parts.items()}
    if target is None:
        classes = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
        target = classes[0] if len(classes) == 1 else None
    total = sum(len(part) for part in parts.values())
    step = {"step": "from_huggingface", "source": options["source"]}
    names = [split for split in parts if split is not None]
    rows = _rows(undecoded, features)
    return save_rows(rows, features, name, target, step, total=total, split_names=names, **options)


def source_of(data: Any, config: str | None, revision: str | None) -> str:
    """Return where a dataset of theirs comes from, as a manifest says it."""
    if not isinstance(data, str):
        return _("a dataset of Hugging Face's in memory")
    if Path(data).expanduser().is_dir():
        return data
    return "/".join(["hf://datasets", data, *([config] if config else [])]) + (f"@{revision}" if revision else "")


def loaded(
    name: str, config: str | None, revision: str | None, parts: Mapping[str, str] | None = None
) -> hf.DatasetDict:
    """Return a dataset of the hub or of a folder, loaded by their own code.

    Parameters
    ----------
    parts
        What each split is to consist of, in their words, such as ``"train[:100]"``; None for its own splits.

    Raises
    ------
    DatasetError
        When it cannot be loaded.
    """
    library = _library()
    place = str(Path(name).expanduser()) if name.startswith("~") else name
    try:
        if parts is None:
            return library.load_dataset(place, config, revision=revision)
        asked = list(parts.values())
        return library.DatasetDict(
            zip(parts, library.load_dataset(place, config, revision=revision, split=asked), strict=True)
        )
    except Exception as error:  # the library and its HTTP client raise many kinds
        raise DatasetError(
            _("{name!r} cannot be loaded from Hugging Face: {error}.", name=name, error=error),
            _("Check the name and the connection; a private dataset needs HF_TOKEN."),
        ) from error


def _features(parts: Mapping[str | None, hf.Dataset]) -> dict[str, Feature]:
    """Return the features of all parts, which must be the same: a label is an index into the names of its own part."""
    first, *others = parts
    try:
        features = features_from_json(parts[first].features.to_dict())
    except ValueError as error:
        raise DatasetError(
            _("The dataset has a feature that is unknown here: {error}.", error=error),
            _("Leave the column out with remove_columns()."),
        ) from error
    for split in others:
        here, there = parts[first].features, parts[split].features
        if here != there:
            column = next(name for name in (*here, *there) if here.get(name) != there.get(name))
            raise DatasetError(
                _("Column {column!r} is another in {first} than in {split}.", column=column, first=first, split=split),
                _("Give all splits the same columns and classes, by cast()."),
            )
    return features


def _rows(parts: Mapping[str | None, Any], features: Mapping[str, Feature]) -> Iterator[Row]:
    for split, part in parts.items():
        number = 0
        for table in part.iter(batch_size=shards.ROW_GROUP):
            for example in _storage(table).to_pylist():
                number += 1
                place = _("{split}, row {row}", split=split, row=number) if split else _("row {row}", row=number)
                yield Row(place, partial(_readable, features, example), split=split)


def _storage(table: pa.Table) -> pa.Table:
    """Return a table whose extension arrays are the lists that they are stored as."""
    for index, field in enumerate(table.schema):
        if isinstance(field.type, pa.ExtensionType):
            chunks = [chunk.storage for chunk in table.column(index).chunks]
            table = table.set_column(index, field.name, pa.chunked_array(chunks, field.type.storage_type))
    return table


def _readable(features: Mapping[str, Feature], example: dict[str, Any]) -> dict[str, Any]:
    """Return an example that `encode_example` takes: files of this machine instead of paths, -1 as missing."""
    return {name: _value(features[name], value) for name, value in example.items()}


def _value(feature: Feature, value: Any) -> Any:
    if isinstance(feature, ClassLabel) and value == -1:
        return None
    if isinstance(feature, TokenLabels) and value is not None:
        return [None if label == -1 else label for label in value]
    if not isinstance(feature, (Image, Audio, Video)) or value is None:
        return value
    if value["bytes"] is not None:
        return value
    path = Path(value["path"] or "")
    try:
        return {"bytes": path.read_bytes(), "path": path.name}
    except OSError as error:
        raise BadExampleError(_("{path} cannot be read ({error})", path=value["path"], error=error.strerror)) from error


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DatasetError(
            _("Hugging Face's library is missing: {error}.", error=error), _("Install armillary[data].")
        ) from error
    return datasets
