"""Import of pictures that lie in one folder per class, in a folder or a zip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator

from armillary.datasets import store
from armillary.datasets.dataset import Dataset
from armillary.datasets.features import ClassLabel, Feature, Image, arrow_schema
from armillary.datasets.image_sources import (
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    ImageSource,
    Member,
    open_source,
    pictures_by_class,
)
from armillary.datasets.shards import ROW_GROUP, write_shards
from armillary.datasets.splits import DEFAULT_SHARES, checked_shares, stratified
from armillary.errors import DatasetError
from armillary.inputs.input_spec import image_spec
from armillary.inputs.pictures import MAX_PIXELS, BadPictureError, channels_of, decode, stored_bytes, upright

_ = translator(__file__)

LARGEST_SIDE = 224

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Scan:
    """What a first look at every picture found."""

    members: list[Member]
    sizes: list[tuple[int, int]]
    channels: int
    report: dict[str, list[dict[str, str]]]


def import_images(
    path: str | Path,
    name: str,
    *,
    size: tuple[int, int] | None = None,
    split: Mapping[str, float] | None = DEFAULT_SHARES,
    seed: int = 0,
    on_error: Literal["stop", "skip"] = "stop",
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
    max_members: int = MAX_MEMBERS,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Dataset:
    """Save a folder or zip of class folders as a dataset.

    Parameters
    ----------
    path
        A folder or zip in which each picture lies in a folder named as its class. PNG, JPEG, BMP, GIF, TIFF, WebP
        and PPM are read; a zip is read in place, nothing of it is unpacked to the disk.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    size
        ``(height, width)`` of all examples. Without it pictures of one size keep it, and others are resized to
        their median height and width, at most 224 each.
    split
        Share of each split, stratified by class; ``None`` puts everything into train.
    on_error
        A damaged picture stops the import (``"stop"``) or is left out and reported (``"skip"``).
    max_unpacked_bytes, max_members
        Limits of a zip.
    max_pixels
        Limit of one picture.
    progress
        Called with the number of steps done and of all steps.

    Raises
    ------
    DatasetError
        When the zip is unsafe, a picture is damaged, a class has too few examples, or nothing can be written.
    """
    store.check_name(name)
    checked_shares(split)
    if on_error not in ("stop", "skip"):
        raise DatasetError(_("on_error is {value!r}.", value=on_error), _('Use "stop" or "skip".'))
    _check_size(size)
    path = Path(path).expanduser()
    with open_source(path, max_unpacked_bytes, max_members) as source:
        scan = _scan(source, path.name, on_error, max_pixels, progress)
        content = _content(source, scan, size or _common_size(scan.sizes), max_pixels, split, seed, progress)
        return Dataset(store.save(name, replace(content, source=str(path))))


def _check_size(size: Any) -> None:
    if size is None:
        return
    whole = isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, (int, np.integer)) for side in size)
    if not whole or min(size) < 1:
        raise DatasetError(_("size is {value!r}.", value=size), _("Give (height, width) in pixels, such as (64, 64)."))


def _scan(source: ImageSource, place: str, on_error: str, max_pixels: int, progress: Progress | None) -> _Scan:
    members, ignored = pictures_by_class(source.paths())
    if not members:
        raise DatasetError(
            _("{place} has no pictures in class folders.", place=place),
            _("Put each picture into a folder named as its class."),
        )
    good: list[Member] = []
    sizes: list[tuple[int, int]] = []
    skipped: list[dict[str, str]] = []
    channels = 1
    for index, member in enumerate(members):
        try:
            picture = decode(source.read(member.path), max_pixels)
        except BadPictureError as error:
            skipped.append({"file": member.path, "reason": str(error)})
        else:
            width, height = upright(picture).size
            good.append(member)
            sizes.append((height, width))
            channels = max(channels, channels_of(picture))
        if progress:
            progress(index + 1, 2 * len(members))
    _refuse_damaged(skipped, len(members), place, on_error)
    report = {"skipped": skipped, "ignored": ignored}
    return _Scan(good, sizes, channels, {key: entries for key, entries in report.items() if entries})


def _refuse_damaged(skipped: Sequence[Mapping[str, str]], total: int, place: str, on_error: str) -> None:
    if not skipped or (on_error == "skip" and len(skipped) < total):
        return
    listed = [f"{entry['file']}: {entry['reason']}" for entry in skipped[:10]]
    if len(skipped) > 10:
        listed.append(_("and {n} more", n=len(skipped) - 10))
    raise DatasetError(
        _(
            "{n} of {total} pictures in {place} cannot be used: {listed}.",
            n=len(skipped),
            total=total,
            place=place,
            listed="; ".join(listed),
        ),
        _('Repair or remove them, or leave them out with on_error="skip".'),
    )


def _common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return (height, width): the one size of all, or else their median."""
    distinct = Counter(sizes)
    if len(distinct) == 1:
        return sizes[0]
    height, width = (int(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    return min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)


def _content(
    source: ImageSource,
    scan: _Scan,
    size: tuple[int, int],
    max_pixels: int,
    split: Mapping[str, float] | None,
    seed: int,
    progress: Progress | None,
) -> store.Content:
    names = tuple(sorted({member.class_name for member in scan.members}))
    if len(names) < 2:
        what = _("There is one class folder, {name!r}; a classifier needs two.", name=names[0])
        raise DatasetError(what, _("Add another class."))
    labels = np.array([names.index(member.class_name) for member in scan.members], np.int64)
    features: dict[str, Feature] = {"image": Image(), "label": ClassLabel(names)}
    encode = partial(stored_bytes, size=(size[1], size[0]), channels=scan.channels, max_pixels=max_pixels)
    batches = _batches(source, scan.members, labels.tolist(), features, encode, progress)
    resized = len(set(scan.sizes) | {size}) > 1
    return store.Content(
        features=features,
        target="label",
        input=image_spec(*size, scan.channels),
        labels=labels,
        split=stratified(labels, names, split, seed),
        place_shards=partial(write_shards, schema=arrow_schema(features), batches=batches),
        recipe=(
            {"step": "import_images", "split": dict(split) if split else None, "seed": seed},
            *([{"step": "resize", "height": size[0], "width": size[1]}] if resized else []),
        ),
        source="",
        report=scan.report,
    )


def _batches(
    source: ImageSource,
    members: Sequence[Member],
    labels: Sequence[int],
    features: dict[str, Feature],
    encode: Callable[[bytes], bytes],
    progress: Progress | None,
) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(features)
    for first in range(0, len(members), ROW_GROUP):
        part = members[first : first + ROW_GROUP]
        pictures = [{"bytes": encode(source.read(member.path)), "path": member.path} for member in part]
        columns = [pa.array(pictures, schema.field("image").type), pa.array(labels[first : first + len(part)])]
        if progress:
            progress(len(members) + first + len(part), 2 * len(members))
        yield pa.record_batch(columns, schema=schema)
