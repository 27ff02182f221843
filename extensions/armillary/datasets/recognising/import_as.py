"""What was recognised becomes a dataset, by the import that fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from armillary.datasets.dataset import Dataset
from armillary.datasets.importing import arrow_files, number_files
from armillary.datasets.importing.boxes import import_boxes
from armillary.datasets.importing.files import import_files
from armillary.datasets.importing.huggingface_hub import import_huggingface
from armillary.datasets.importing.images import import_images
from armillary.datasets.importing.sql import import_sql
from armillary.datasets.importing.tables import import_table
from armillary.datasets.importing.translations import import_translations
from armillary.datasets.recognising.unpacked import idx_pair, unpacked
from armillary.datasets.recognising.ways import Way

#: Kinds whose examples are numbers already: none of them is unusable by itself.
WITHOUT_REJECTS = frozenset({"numpy", "idx"})


def import_as(way: Way, path: Path | None, name: str, **options: Any) -> Dataset:
    """Save what was previewed, as it was understood.

    Parameters
    ----------
    way
        How: `Preview.way`.
    path
        What was previewed; None where the way itself names it (a database, a dataset of the hub).
    name
        Of the dataset.
    options
        See `armillary.datasets.SaveOptions`.

    Raises
    ------
    DatasetError
        As the import says.
    """
    if way.kind in WITHOUT_REJECTS:
        options.pop("on_error", None)
    return _IMPORTS[way.kind](path, name, dict(way.settings), options)


def _files(path: Any, name: str, settings: dict[str, Any], options: dict[str, Any]) -> Dataset:
    return import_files(path, name, settings["parts"], label=settings["label"], **options)


def _columns(path: Any, name: str, settings: dict[str, Any], options: dict[str, Any]) -> Dataset:
    options = {"source": str(getattr(path, "source", path)), **options}
    with unpacked(path, arrow_files.PARQUET_SUFFIXES | arrow_files.ARROW_SUFFIXES) as place:
        return arrow_files.import_arrow(place, name, target=settings["target"] or None, **options)


def _idx(path: Any, name: str, _settings: dict[str, Any], options: dict[str, Any]) -> Dataset:
    options = {"source": str(getattr(path, "source", path)), **options}
    with idx_pair(path) as (images, labels):
        return number_files.import_idx(images, labels, name, **options)


def _sql(_path: Any, name: str, settings: dict[str, Any], options: dict[str, Any]) -> Dataset:
    target = settings["target"] or None
    return import_sql(settings["query"], settings["database"], name, target=target, **options)


def _hub(_path: Any, name: str, settings: dict[str, Any], options: dict[str, Any]) -> Dataset:
    told = {key: settings[key] or None for key in ("config", "parts", "target")}
    return import_huggingface(settings["repository"], name, **{**told, **options})


_IMPORTS: Mapping[str, Callable[[Any, str, dict[str, Any], dict[str, Any]], Dataset]] = {
    "table": lambda path, name, told, options: import_table(path, name, told["target"] or None, **options),
    "columns": _columns,
    "sql": _sql,
    "numpy": lambda path, name, told, options: number_files.import_numpy(path, name, **told, **options),
    "idx": _idx,
    "images": lambda path, name, _told, options: import_images(path, name, **options),
    "files": _files,
    "boxes": lambda path, name, told, options: import_boxes(path, name, told["layout"], **options),
    "translations": lambda path, name, told, options: import_translations(path, name, told["languages"], **options),
    "huggingface": _hub,
}
