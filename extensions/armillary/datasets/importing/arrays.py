"""Import of examples that are in memory already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import ArrayLike, NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import ClassLabel, Feature, Image
from armillary.datasets.importing import labels as class_labels
from armillary.datasets.kept_together import divided
from armillary.datasets.names import refuse_text
from armillary.datasets.sameness import RowKeys
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.schemas import arrow_schema
from armillary.datasets.shards import ROW_GROUP, write_shards
from armillary.datasets.splits import DEFAULT_SHARES, stratified
from armillary.datasets.store import check_name
from armillary.errors import DatasetError
from armillary.inputs.input_spec import image_spec
from armillary.inputs.pictures import encode_array

_ = translator(__file__)

Progress = Callable[[int, int], None]


def import_arrays(
    X: ArrayLike,  # noqa: N803 (scikit-learn's name for a matrix of examples)
    y: ArrayLike,
    name: str,
    class_names: Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    split: Mapping[str, float] | None = DEFAULT_SHARES,
    seed: int = 0,
    source: str = "",
    licence: str = "",
    progress: Progress | None = None,
) -> Dataset:
    """Save arrays as a dataset.

    Parameters
    ----------
    X
        Images ``(n, height, width)`` or ``(n, height, width, channels)``, 0 to 255, or floats in [0, 1];
        or a table ``(n, features)``.
    y
        Classes, ``(n,)``: names or numbers.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    class_names
        The order of the classes; numbers in ``y`` are indices into it.
    columns
        Tables: the name of each column.
    split
        Share of each split, stratified by class; ``None`` puts everything into train.
    source, licence
        Where the data came from, and on what terms they may be used.

    Returns
    -------
    Dataset
        The saved version; row ``i`` is ``X[i]``.

    Raises
    ------
    DatasetError
        When shapes, values or classes do not fit, the name is taken by another form, or nothing can be written.
    """
    check_name(name)
    array = _as_array(X)
    _check_shapes(array, np.asarray(y))
    if array.ndim == 2:
        return _import_matrix(X, array, y, name, class_names, columns, split, seed, source, licence, progress)
    pixels = _as_pixels(array)
    codes, names = class_labels.encode(y, class_names, _("the labels in y"))
    features: dict[str, Feature] = {"image": Image(), "label": ClassLabel(names)}
    stratified(codes, names, split, seed)  # what is wrong with it is said before anything is written

    def place(folder: Path) -> Placed:
        keys = RowKeys({"image": features["image"]})
        batches = keys.noting(_picture_batches(pixels, codes, features, progress))
        shards = write_shards(folder, arrow_schema(features), batches)
        assignment = divided(codes, names, split, seed, keys.units())
        return Placed(shards, assignment, codes, image_spec(*pixels.shape[1:]))

    content = Content(
        features=features,
        target="label",
        place=place,
        recipe=({"step": "import_arrays", "split": dict(split) if split else None, "seed": seed},),
        source=source or f"arrays in memory, {array.dtype} {array.shape}",
        licence=licence,
    )
    return Dataset(save(name, content))


def _as_array(X: ArrayLike) -> NDArray[Any]:  # noqa: N803 (scikit-learn's name for a matrix of examples)
    try:
        return np.asarray(X)
    except ValueError as error:
        raise DatasetError(
            _("The examples in X are not all of one shape."), _("Give them one shape, or save files: import_images().")
        ) from error


def _check_shapes(array: NDArray[Any], labels: NDArray[Any]) -> None:
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise DatasetError(
            _("X has shape {shape}.", shape=array.shape),
            _("Give images (n, height, width[, channels]) or a table (n, features), with at least one example."),
        )
    if labels.shape != (len(array),):
        raise DatasetError(
            _("y has shape {shape} for {n:,} examples.", shape=labels.shape, n=len(array)),
            _("Give ({n},) classes.", n=len(array)),
        )
    if array.ndim == 4 and array.shape[-1] not in (1, 3):
        raise DatasetError(
            _("X has {n} channels.", n=array.shape[-1]), _("Give grey (1) or RGB (3) images, channels last.")
        )


def _as_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8 ``(n, height, width, channels)``."""
    array = array[..., None] if array.ndim == 3 else array
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
        raise DatasetError(
            _("The pixels in X are not numbers from 0 to 255."), _("Scale them, or give floats in [0, 1].")
        )
    if array.dtype.kind == "f" and array.max() <= 1:
        return np.round(array * 255).astype(np.uint8)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    return np.round(array).astype(np.uint8)


def _picture_batches(
    pixels: NDArray[np.uint8], codes: NDArray[np.int64], features: dict[str, Feature], progress: Progress | None
) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(features)
    for first in range(0, len(pixels), ROW_GROUP):
        rows = range(first, min(first + ROW_GROUP, len(pixels)))
        pictures = [{"bytes": encode_array(pixels[row]), "path": None} for row in rows]
        columns = [pa.array(pictures, schema.field("image").type), pa.array(codes[rows.start : rows.stop])]
        if progress:
            progress(rows.stop, len(pixels))
        yield pa.record_batch(columns, schema=schema)


def _import_matrix(
    X: Any,  # noqa: N803 (scikit-learn's name for a matrix of examples)
    array: NDArray[Any],
    y: ArrayLike,
    name: str,
    class_names: Sequence[str] | None,
    columns: Sequence[str] | None,
    split: Mapping[str, float] | None,
    seed: int,
    source: str,
    licence: str,
    progress: Progress | None,
) -> Dataset:
    from armillary.datasets.importing.tables import save_frame

    frame = X.copy() if isinstance(X, pd.DataFrame) else pd.DataFrame(array, columns=_column_names(array, columns))
    frame.columns = [str(column) for column in frame.columns]
    if "target" in frame.columns:
        raise DatasetError(_("X has a column named 'target', the name that y gets."), _("Rename that column."))
    codes, names = class_labels.encode(y, class_names, _("the labels in y"))
    return save_frame(
        frame,
        codes,
        names,
        name,
        "target",
        split=split,
        seed=seed,
        step={"step": "import_arrays"},
        source=source or f"arrays in memory, {array.dtype} {array.shape}",
        licence=licence,
        progress=progress,
    )


def _column_names(array: NDArray[Any], columns: Sequence[str] | None) -> list[str]:
    if columns is None:
        return [f"x{index}" for index in range(array.shape[1])]
    refuse_text(columns, "columns")
    if len(columns) != array.shape[1] or len(set(columns)) != len(columns):
        raise DatasetError(
            _("{given} column names were given for {n} columns.", given=len(columns), n=array.shape[1]),
            _("Give each column one name of its own."),
        )
    return [str(column) for column in columns]
