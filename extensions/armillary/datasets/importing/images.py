"""Import of pictures that lie in one folder per class, in a folder or a zip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import ClassLabel, Feature, Image
from armillary.datasets.importing.archive_check import MAX_MEMBERS, MAX_UNPACKED_BYTES
from armillary.datasets.importing.downloads import MAX_DOWNLOAD_BYTES, local_copy
from armillary.datasets.importing.rejects import OnError, Rejects
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.datasets.importing.split_folders import FOLDERS, splits_of
from armillary.datasets.kept_together import divided
from armillary.datasets.sameness import RowKeys, Units
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.schemas import arrow_schema
from armillary.datasets.shards import ROW_GROUP, write_shards
from armillary.datasets.splits import DEFAULT_SHARES, Assignment, checked_shares, given, stratified
from armillary.datasets.store import check_name
from armillary.errors import DatasetError
from armillary.inputs.input_spec import image_spec
from armillary.inputs.pictures import (
    MAX_PIXELS,
    SUFFIXES,
    BadPictureError,
    channels_of,
    decode,
    stored_bytes,
    upright,
)

_ = translator(__file__)

LARGEST_SIDE = 224

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Member:
    """A picture file: its path below the root, and the class that its folder names."""

    path: str
    class_name: str


@dataclass(frozen=True)
class _Scan:
    """What a first look at every picture found."""

    members: list[Member]
    sizes: list[tuple[int, int]]
    channels: int
    rejects: Rejects
    ignored: list[dict[str, str]]


def import_images(
    path: str | Path,
    name: str,
    *,
    size: tuple[int, int] | None = None,
    split: Mapping[str, float] | None = DEFAULT_SHARES,
    seed: int = 0,
    on_error: OnError = "stop",
    licence: str = "",
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
    max_members: int = MAX_MEMBERS,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    max_download_bytes: int = MAX_DOWNLOAD_BYTES,
) -> Dataset:
    """Save a folder, zip or tar of class folders as a dataset of images that models can take: all of one size.

    Parameters
    ----------
    path
        A folder or archive in which each picture lies in a folder named as its class. PNG, JPEG, BMP, GIF, TIFF,
        WebP and PPM are read; an archive is read in place, nothing of it is unpacked to a path that it names. Or its
        URL.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    size
        ``(height, width)`` of all examples. Without it pictures of one size keep it, and others are resized to
        their median height and width, at most 224 each.
    split
        Share of each split, stratified by class; ``None`` puts everything into train. Unless it is given, pictures that
        all lie in folders named ``train``, ``validation`` (or ``val``) and ``test``, above those of their classes, keep
        that division.
    on_error
        A damaged picture stops the import (``"stop"``), is left out and reported (``"skip"``), or kept for repair in
        `Dataset.skipped` (``"set_aside"``).
    licence
        On what terms the pictures may be used.
    max_unpacked_bytes, max_members
        Limits of an archive.
    max_pixels
        Limit of one picture.
    progress
        Called with the number of steps done and of all steps; of a URL first with its bytes.
    max_download_bytes
        Limit of what a URL brings.

    Raises
    ------
    DatasetError
        When the archive is unsafe, a picture is damaged, a class has too few examples, or nothing can be written.
    """
    check_name(name)
    checked_shares(split)
    _check_size(size)
    with (
        local_copy(path, max_download_bytes, progress) as local,
        open_source(local.path, max_unpacked_bytes, max_members) as source,
    ):
        scan = _scan(source, local.path.name, Rejects(on_error, local.path.name), max_pixels, progress)
        plan = _Plan(source, scan, size or _common_size(scan.sizes), max_pixels, progress)
        return Dataset(save(name, plan.content(split, seed, local.source, licence)))


def _check_size(size: Any) -> None:
    if size is None:
        return
    whole = isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, (int, np.integer)) for side in size)
    if not whole or min(size) < 1:
        raise DatasetError(_("size is {value!r}.", value=size), _("Give (height, width) in pixels, such as (64, 64)."))


def _scan(source: FileSource, place: str, rejects: Rejects, max_pixels: int, progress: Progress | None) -> _Scan:
    members, ignored = pictures_by_class(source)
    if not members:
        raise DatasetError(
            _("{place} has no pictures in class folders.", place=place),
            _("Put each picture into a folder named as its class."),
        )
    good: list[Member] = []
    sizes: list[tuple[int, int]] = []
    channels = 1
    for index, member in enumerate(members):
        try:
            picture = decode(source.read(member.path), max_pixels)
        except (BadPictureError, BadFileError) as error:
            rejects.add(member.path, str(error), partial(source.read, member.path))
        else:
            width, height = upright(picture).size
            good.append(member)
            sizes.append((height, width))
            channels = max(channels, channels_of(picture))
        if progress:
            progress(index + 1, 2 * len(members))
    rejects.check(len(members))
    return _Scan(good, sizes, channels, rejects, ignored)


def pictures_by_class(source: FileSource) -> tuple[list[Member], list[dict[str, str]]]:
    """Return the pictures, each with the name of the folder it lies in as its class, and what was left out and why."""
    members: list[Member] = []
    ignored = source.ignored()
    for path in source.paths():
        parts = PurePosixPath(path).parts
        if PurePosixPath(path).suffix.lower() not in SUFFIXES:
            ignored.append({"file": path, "reason": _("not a picture by its name")})
        elif len(parts) < 2:
            ignored.append({"file": path, "reason": _("lies in no class folder")})
        else:
            members.append(Member(path, parts[-2]))
    return members, ignored


def _common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return (height, width): the one size of all, or else their median."""
    distinct = Counter(sizes)
    if len(distinct) == 1:
        return sizes[0]
    height, width = (int(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    return min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)


@dataclass(frozen=True)
class _Plan:
    """How good pictures become shards."""

    source: FileSource
    scan: _Scan
    size: tuple[int, int]
    max_pixels: int
    progress: Progress | None

    def content(self, split: Mapping[str, float] | None, seed: int, source: str, licence: str) -> Content:
        """Return the version to be."""
        names = tuple(sorted({member.class_name for member in self.scan.members}))
        if len(names) < 2:
            what = _("There is one class folder, {name!r}; a classifier needs two.", name=names[0])
            raise DatasetError(what, _("Add another class."))
        given_splits = splits_of([member.path for member in self.scan.members], 1) if split is DEFAULT_SHARES else None
        number = {name: index for index, name in enumerate(names)}
        labels = np.array([number[member.class_name] for member in self.scan.members], np.int64)
        features: dict[str, Feature] = {"image": Image(), "label": ClassLabel(names)}
        if given_splits is None:
            stratified(labels, names, split, seed)  # what is wrong with it is said before all is read

        def divide(units: Units) -> Assignment:
            return divided(labels, names, split, seed, units) if given_splits is None else given(given_splits)

        height, width = self.size
        resized = len(set(self.scan.sizes) | {self.size}) > 1
        return Content(
            features=features,
            target="label",
            place=partial(self._placed, features=features, labels=labels, divide=divide),
            recipe=(
                {"step": "import_images", "split": dict(split) if split else None, "seed": seed}
                | (FOLDERS if given_splits else {}),
                *([{"step": "resize", "height": height, "width": width}] if resized else []),
            ),
            source=source,
            licence=licence,
        )

    def _placed(
        self,
        folder: Path,
        features: dict[str, Feature],
        labels: NDArray[np.int64],
        divide: Callable[[Units], Assignment],
    ) -> Placed:
        keys = RowKeys({"image": features["image"]})
        batches = keys.noting(self._batches(features, labels.tolist()))
        ignored = {"ignored": self.scan.ignored} if self.scan.ignored else {}
        return Placed(
            shards=write_shards(folder, arrow_schema(features), batches),
            split=divide(keys.units()),
            labels=labels,
            input=image_spec(*self.size, self.scan.channels),
            skipped_file=self.scan.rejects.write(folder),
            report={**self.scan.rejects.report(), **ignored},
        )

    def _batches(self, features: dict[str, Feature], labels: Sequence[int]) -> Iterator[pa.RecordBatch]:
        schema, members = arrow_schema(features), self.scan.members
        for first in range(0, len(members), ROW_GROUP):
            part = members[first : first + ROW_GROUP]
            pictures = [{"bytes": self._encoded(member), "path": member.path} for member in part]
            columns = [pa.array(pictures, schema.field("image").type), pa.array(labels[first : first + len(part)])]
            if self.progress:
                self.progress(len(members) + first + len(part), 2 * len(members))
            yield pa.record_batch(columns, schema=schema)

    def _encoded(self, member: Member) -> bytes:
        height, width = self.size
        return stored_bytes(self.source.read(member.path), (width, height), self.scan.channels, self.max_pixels)
