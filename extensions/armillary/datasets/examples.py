"""The raw examples of a version in memory: decoded once per process when they fit, decoded on demand when not."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.features import ClassLabel, Image
from armillary.datasets.kinds import is_number_to_models
from armillary.datasets.manifest import Manifest, read_manifest
from armillary.datasets.places import Place
from armillary.datasets.shards import read_files
from armillary.errors import DatasetError
from armillary.inputs.pictures import as_array, decode_stored, fitted

_ = translator(__file__)

DECODED_LIMIT = 2**30
_SMALL_PICTURE = 64 * 64


class Examples(Protocol):
    """Raw examples by row number."""

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the raw examples ``(len(rows), *shape)`` of these rows."""


class DecodedExamples:
    """All examples as one array."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return a copy of these rows."""
        return self.values[rows]


class EncodedPictures:
    """Pictures kept as the bytes of their files, which are far smaller than their pixels."""

    def __init__(self, files: pa.ChunkedArray, shape: tuple[int, ...]) -> None:
        self._files = files
        self._shape = shape

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return these rows decoded."""
        return decode_pictures([self._files[int(row)].as_py() for row in rows], self._shape)


def decode_pictures(files: list[bytes], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return ``(n, height, width, channels)``; large pictures are decoded in parallel (Pillow frees the GIL)."""
    height, width, channels = shape
    pictures = np.empty((len(files), *shape), np.uint8)

    def decode_one(index: int) -> None:
        pictures[index] = as_array(fitted(decode_stored(files[index]), (width, height), channels))

    if height * width <= _SMALL_PICTURE:
        for index in range(len(files)):
            decode_one(index)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode_one, range(len(files))))
    return pictures


def keeps_decoded(manifest: Manifest) -> bool:
    """Return whether the raw examples of a version stay in memory: tables, and pictures that are few or small."""
    if manifest.input is None:
        return False
    return manifest.input.kind == "table" or manifest.examples * int(np.prod(manifest.input.shape)) <= DECODED_LIMIT


@lru_cache(maxsize=2)
def load_examples(folder: Place, saved: str) -> Examples:
    """Return the examples of a version; ``saved`` (its time of saving) tells a re-made store from the old one."""
    manifest = read_manifest(folder)
    if manifest.input is None:
        raise ValueError(f"{folder} has no form that models take")
    if manifest.input.kind == "table":
        return DecodedExamples(model_columns(read_files(folder, manifest.shards), manifest))
    column = next(name for name, feature in manifest.features.items() if isinstance(feature, Image))
    files = read_files(folder, manifest.shards, [column]).column(column)
    encoded = pa.chunked_array([pc.struct_field(chunk, "bytes") for chunk in files.chunks], pa.binary())
    shape = manifest.input.shape
    if not keeps_decoded(manifest):
        return EncodedPictures(encoded, shape)
    return DecodedExamples(decode_pictures(encoded.to_pylist(), shape))


@lru_cache(maxsize=16)
def load_labels(folder: Place, saved: str) -> NDArray[np.int64]:
    """Return the class of every row, ``(n,)``."""
    manifest = read_manifest(folder)
    column = read_files(folder, manifest.shards, [str(manifest.target)]).column(str(manifest.target))
    labels = column.to_numpy().astype(np.int64)
    labels.setflags(write=False)
    return labels


def model_columns(table: pa.Table, manifest: Manifest) -> NDArray[np.float32]:
    """Return what a model sees of a table: numbers as they are, a category as one column per value, no free text."""
    inputs = {name: feature for name, feature in manifest.features.items() if name != manifest.target}
    return stacked_columns(table.to_pandas(), inputs)[0]


def stacked_columns(frame: pd.DataFrame, inputs: dict[str, Any]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the numeric matrix ``(n, features)`` of the columns in ``inputs``, and its column names.

    Numbers, truth values, times (in the unit of their column) and classes are in it; nothing else is.

    Raises
    ------
    DatasetError
        When a number is too large for 32 bits.
    """
    arrays: list[NDArray[np.float32]] = []
    columns: list[str] = []
    for name, feature in inputs.items():
        if isinstance(feature, ClassLabel):
            codes = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
            arrays.extend((codes == index).astype(np.float32) for index in range(len(feature.names)))
            columns.extend(f"{name}={value}" for value in feature.names)
        elif is_number_to_models(feature):
            arrays.append(_numbers(name, frame[name]))
            columns.append(name)
    return np.column_stack(arrays) if arrays else np.empty((len(frame), 0), np.float32), tuple(columns)


def _numbers(name: str, column: pd.Series) -> NDArray[np.float32]:
    """Return a column as numbers, what is missing as NaN."""
    if column.dtype.kind in "mM":
        times: Any = pd.Index(column)
        return np.where(times.isna(), np.nan, times.asi8).astype(np.float32)
    with np.errstate(over="ignore"):
        numbers = column.to_numpy(dtype=np.float32, na_value=np.nan)
    infinite = np.isinf(numbers)
    if infinite.any():
        stored = column[infinite].to_numpy(dtype=np.float64)
        large = stored[np.isfinite(stored)]
        if len(large):
            raise DatasetError(
                _(
                    "Column {name!r} has the number {number:g}, too large for models (32 bits).",
                    name=name,
                    number=large[0],
                ),
                _("Correct it, leave it empty, or give the column in a larger unit."),
            )
    return numbers
