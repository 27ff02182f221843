"""A first look at tables, databases and arrays."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.features import ClassLabel
from armillary.datasets.importing import arrow_files, number_files
from armillary.datasets.importing.columns import PLACE, SPLIT
from armillary.datasets.importing.databases import answer
from armillary.datasets.importing.labels import MAX_CLASSES
from armillary.datasets.importing.rejects import Rejects
from armillary.datasets.importing.table_folders import read_tables
from armillary.datasets.recognising.looks import ROWS, Preview
from armillary.datasets.recognising.samples import THUMBNAIL_SIDE, Sample, evenly
from armillary.datasets.recognising.unpacked import idx_pair, unpacked
from armillary.datasets.recognising.ways import Way
from armillary.errors import DatasetError
from armillary.inputs.pictures import encode_array

_ = translator(__file__)

#: Names that arrays often have, of the examples and of their classes.
_X, _Y = ("x", "x_train", "images", "train_images", "data"), ("y", "y_train", "labels", "train_labels", "target")
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('information_schema', {system})"
_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"


def table(path: Path, way: Way, _samples: int) -> Preview:
    """Look at a table; the target is its last column unless another is named."""
    frame = read_tables(path, "utf-8-sig", Rejects("skip", path.name))
    frame = frame.drop(columns=[PLACE, SPLIT], errors="ignore")
    columns = [str(column) for column in frame.columns]
    target = way.settings["target"]
    chosen = target if target in (*columns, "") else columns[-1]
    counts = frame[chosen].value_counts(dropna=True).sort_index().head(MAX_CLASSES) if chosen else {}
    named = {str(value): int(count) for value, count in counts.items()}
    note = _("{n} rows, {columns} columns", n=f"{len(frame):,}", columns=len(columns))
    return Preview(way.told(target=chosen), (), note, named, columns=tuple(columns), rows=frame.head(ROWS))


def columns(path: Path, way: Way, _samples: int) -> Preview:
    """Look at Parquet or Arrow files as they declare their columns; those with classes can be the target."""
    with unpacked(path, arrow_files.PARQUET_SUFFIXES | arrow_files.ARROW_SUFFIXES) as place:
        features, examples = arrow_files.first_examples(place, ROWS)
    classes = tuple(name for name, feature in features.items() if isinstance(feature, ClassLabel))
    target = way.settings["target"]
    chosen = target if target in (*classes, "") else (classes[0] if len(classes) == 1 else "")
    rows = pd.DataFrame([{name: _short(value) for name, value in example.items()} for example in examples])
    note = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
    return Preview(way.told(target=chosen), (), note, columns=classes, rows=rows)


def _short(value: Any) -> Any:
    """Return a value as it can be read in a table."""
    if isinstance(value, dict) and "bytes" in value:
        return value.get("path") or _("{n} bytes", n=f"{len(value['bytes'] or b''):,}")
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)[:80]


def database(_path: Path | None, way: Way, _samples: int) -> Preview:
    """Look at what a database answers; without a query, at its first table."""
    address = way.settings["database"]
    query = way.settings["query"].strip()
    if not query:
        names = _tables(address)
        if not names:
            return Preview(way, note=_("Write what to ask it for."))
        quoted = '"{}"'.format(names[0].replace('"', '""')) if address.startswith("sqlite") else names[0]
        query = f"SELECT * FROM {quoted}"  # noqa: S608 (a name that the database itself gave, shown to be changed)
    with answer(query, address, None) as result:
        heads = tuple(map(str, result.keys()))
        rows = pd.DataFrame(list(islice(result, ROWS)), columns=list(heads))
    target = way.settings["target"]
    told = way.told(query=query, target=target if target in heads else "")
    return Preview(told, columns=heads, rows=rows.map(_short) if len(rows) else rows)


def _tables(address: str) -> list[str]:
    system = "'sys'" if address.startswith(("mysql", "mariadb", "mssql")) else "'pg_catalog'"
    query = _SQLITE_TABLES if address.startswith("sqlite") else _TABLES.format(system=system)
    try:
        with answer(query, address, None) as result:
            return [str(row[0]) for row in result]
    except DatasetError:
        if address.startswith("sqlite"):
            raise
        return []  # it has another catalogue; a query will say what is wrong, if anything is


def numpy_file(path: Path, way: Way, samples: int) -> Preview:
    """Look at an .npz file: which of its arrays are the examples and the classes."""
    names = number_files.array_names(path)
    x, y = (_named(way.settings[key], names, usual) for key, usual in (("x", _X), ("y", _Y)))
    told = way.told(x=x, y=y)
    if x == y:
        return Preview(told, columns=names)
    return _arrays(told, *number_files.read_arrays(path, (x, y)), samples, names)


def _named(wanted: str, names: tuple[str, ...], usual: tuple[str, ...]) -> str:
    by_lower = {name.lower(): name for name in reversed(names)}
    return wanted if wanted in names else next((by_lower[name] for name in usual if name in by_lower), names[0])


def idx_files(path: Path, way: Way, samples: int) -> Preview:
    """Look at a pair of IDX files."""
    with idx_pair(path) as (images, labels):
        return _arrays(way, number_files.read_idx(images), number_files.read_idx(labels), samples, ())


def _arrays(way: Way, x: NDArray[Any], y: NDArray[Any], samples: int, names: tuple[str, ...]) -> Preview:
    counts: dict[str, int] = {}
    if y.ndim == 1:
        values, numbers = np.unique(y, return_counts=True)
        counts = {str(value): int(number) for value, number in list(zip(values, numbers, strict=True))[:MAX_CLASSES]}
    note = _("{x}: {dtype} {shape}", x=way.settings.get("x") or _("pictures"), dtype=x.dtype, shape=x.shape)
    pictures = x.dtype == np.uint8 and (x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3))) and len(x) == len(y)
    shown = evenly(range(len(x)), samples) if pictures and max(x.shape[1:3]) <= 4 * THUMBNAIL_SIDE else []
    found = tuple(Sample(encode_array(x[row].reshape(*x.shape[1:3], -1)), str(y[row]), str(row)) for row in shown)
    return Preview(way, (), note, counts, found, names)
