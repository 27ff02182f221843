"""Import of Parquet and Arrow files as they declare their columns: images, lists and all, row group by row group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa
import pyarrow.parquet as pq
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Feature
from armillary.datasets.importing.downloads import local_copy
from armillary.datasets.importing.examples import Row, SaveOptions, download_options, save_rows
from armillary.datasets.importing.rejects import BadExampleError, first_of
from armillary.datasets.schemas import features_of_schema
from armillary.datasets.shards import ROW_GROUP
from armillary.errors import DatasetError

_ = translator(__file__)

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
ARROW_SUFFIXES = frozenset({".arrow", ".feather", ".ipc"})
_KNOWN = PARQUET_SUFFIXES | ARROW_SUFFIXES


def import_arrow(path: str | Path, name: str, *, target: str | None = None, **options: Unpack[SaveOptions]) -> Dataset:
    """Save a Parquet or Arrow file with the features that it declares, or else those of its types.

    Other than `import_table`, it neither guesses categories nor makes an input for models. A part is read at a time:
    the file may be larger than memory.

    Parameters
    ----------
    path
        A file, or a folder of such files of one schema, which are read in the order of their names; or its URL. Folders
        within are left out, and reported.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    target
        The column with the class, if there is one.
    options
        See `SaveOptions`.

    Raises
    ------
    DatasetError
        When a file is damaged or of another schema, a column has a type that no feature has, an example cannot be used,
        or nothing can be written.
    """
    with local_copy(path, **download_options(options)) as local:
        options.setdefault("source", local.source)
        files = _files(local.path)
        features = _features(files[0])
        other = next((file for file in files if _features(file) != features), None)
        if other is not None:
            what = _("{file} has other columns than {first}.", file=other.name, first=files[0].name)
            raise DatasetError(what, _("Import it by itself."))
        rows = (row for file in files for row in _rows(file, features))
        ignored = first_of(_within(local.path)) if local.path.is_dir() else []
        return save_rows(rows, features, name, target, {"step": "import_arrow"}, ignored=ignored, **options)


def first_examples(path: Path, number: int) -> tuple[dict[str, Feature], list[dict[str, Any]]]:
    """Return the features of a file, or of the first file of a folder, and its first examples.

    Raises
    ------
    DatasetError
        When it is damaged, or there is no such file.
    """
    file = _files(path)[0]
    features = _features(file)
    return features, next((batch.slice(0, number).to_pylist() for batch in _batches(file)), [])


def _files(path: Path) -> list[Path]:
    files = sorted(file for file in path.iterdir() if _is_known(file)) if path.is_dir() else [path]
    if not files or files[0].suffix.lower() not in _KNOWN:
        raise DatasetError(
            _("{place} is no Parquet or Arrow file, nor a folder of them.", place=path.name), _("Check the path.")
        )
    return files


def _is_known(file: Path) -> bool:
    return file.suffix.lower() in _KNOWN and not file.name.startswith(".")


def _within(folder: Path) -> list[dict[str, str]]:
    """Return the files of folders in a folder, such as those of partitions, whose columns stand in their names."""
    files = sorted(file for file in folder.rglob("*") if _is_known(file) and file.parent != folder)
    reason = _("lies in a folder within")
    return [{"file": file.relative_to(folder).as_posix(), "reason": reason} for file in files]


def _features(file: Path) -> dict[str, Feature]:
    schema = next(_batches(file, schema_alone=True)).schema
    repeated = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if repeated is not None:
        raise DatasetError(
            _("Two columns are called {name!r}.", name=repeated), _("Give each column one name of its own.")
        )
    try:
        return features_of_schema(schema)
    except ValueError as error:
        raise _unreadable(file, error) from error


def _rows(file: Path, features: Mapping[str, Feature]) -> Iterator[Row]:
    number = 0
    for batch in _batches(file):
        for read in _readers(batch):
            number += 1
            yield Row(_("{file}, row {row}", file=file.name, row=number), read)


def _readers(batch: pa.RecordBatch) -> Iterator[Callable[[], dict[str, Any]]]:
    """Yield what gives each row; where a text is no UTF-8, which Arrow does not look for, each is read by itself."""
    try:
        examples = batch.to_pylist()
    except UnicodeDecodeError:
        yield from (partial(_read_alone, batch, row) for row in range(len(batch)))
    else:
        yield from (partial(dict, example) for example in examples)


def _read_alone(batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    values = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column[row].as_py()
        except UnicodeDecodeError as error:
            reason = _("{column!r}: it is not encoded in {encoding}", column=name, encoding="UTF-8")
            raise BadExampleError(reason) from error
    return values


def _batches(file: Path, schema_alone: bool = False) -> Iterator[pa.RecordBatch]:
    """Yield a file in parts, or one empty part with its schema."""
    try:
        if file.suffix.lower() in PARQUET_SUFFIXES:
            with pq.ParquetFile(file) as parquet:
                yield from _none_of(parquet.schema_arrow) if schema_alone else parquet.iter_batches(ROW_GROUP)
            return
        with pa.memory_map(str(file)) as mapped:
            try:
                stream = pa.ipc.open_file(mapped)
                parts = (stream.get_batch(index) for index in range(stream.num_record_batches))
            except pa.ArrowInvalid:
                mapped.seek(0)
                stream = parts = pa.ipc.open_stream(mapped)
            yield from _none_of(stream.schema) if schema_alone else parts
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def _none_of(schema: pa.Schema) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([], schema=schema)]


def _unreadable(file: Path, error: Exception) -> DatasetError:
    what = _("{file} cannot be read: {error}.", file=file.name, error=error)
    return DatasetError(what, _("Check the path, or get the file again."))
