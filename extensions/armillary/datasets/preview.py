"""A first look at files before they become a dataset: their classes and a page of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.importing.columns import PLACE
from armillary.datasets.importing.files import import_files, kind_of_file
from armillary.datasets.importing.images import Member, import_images, pictures_by_class
from armillary.datasets.importing.labels import MAX_CLASSES
from armillary.datasets.importing.rejects import Rejects
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.datasets.importing.table_files import is_table, read_rows
from armillary.datasets.importing.tables import import_table
from armillary.errors import DatasetError
from armillary.inputs.pictures import BadPictureError, decode, encode_png, fitted

_ = translator(__file__)

THUMBNAIL_SIDE = 96


@dataclass(frozen=True)
class Sample:
    """One picture of a preview: a small PNG, its class and its path; no bytes when it is damaged."""

    png: bytes
    class_name: str
    path: str


@dataclass(frozen=True)
class Preview:
    """What a file would give: its kind, examples per class, and some examples.

    Attributes
    ----------
    kind
        ``"image"``, ``"audio"``, ``"video"``, ``"text"`` or ``"table"``.
    class_counts
        Examples per class, of a table by the values of ``target``.
    samples
        Pictures, evenly from all of them.
    columns, target
        Of a table; the target is the last column unless another was named.
    rows
        The first rows of a table.
    """

    kind: str
    class_counts: Mapping[str, int]
    samples: tuple[Sample, ...] = ()
    columns: tuple[str, ...] = ()
    target: str = ""
    rows: pd.DataFrame | None = None


def preview(path: str | Path, target: str | None = None, *, samples: int = 60) -> Preview:
    """Look at a folder, zip, CSV or Parquet file without saving anything.

    Raises
    ------
    DatasetError
        When it cannot be read, as the import would say.
    """
    path = Path(path).expanduser()
    if is_table(path):
        return _preview_table(path, target)
    with open_source(path) as source:
        members, _ignored = pictures_by_class(source)
        if not members:
            found = _preview_files(source)
            if found is not None:
                return found
            raise DatasetError(
                _("{place} has no pictures, sounds, videos or texts in class folders.", place=path.name),
                _("Put each file into a folder named as its class."),
            )
        counts = Counter(member.class_name for member in members)
        chosen = np.linspace(0, len(members) - 1, min(samples, len(members))).astype(int)
        pictures = tuple(_sample(source, members[index]) for index in chosen)
    return Preview("image", dict(sorted(counts.items())), pictures)


def _preview_files(source: FileSource) -> Preview | None:
    """Return what class folders of sounds, videos or texts would give, by the kind there is most of."""
    kinds: dict[str, Counter[str]] = {kind: Counter() for kind in ("audio", "video", "text")}
    names: dict[str, list[str]] = {kind: [] for kind in kinds}
    for path in source.paths():
        kind = kind_of_file(path)
        folder = PurePosixPath(path).parent.name
        if kind in kinds and folder:
            kinds[kind][folder] += 1
            names[kind].append(path)
    most = max(kinds, key=lambda kind: kinds[kind].total())
    if not kinds[most]:
        return None
    listed = pd.DataFrame({_("file"): names[most][:20]})
    return Preview(most, dict(sorted(kinds[most].items())), rows=listed)


def save_previewed(path: Path, found: Preview, name: str, *, target: str | None, **options: Any) -> Dataset:
    """Save what was previewed, by the import that fits its kind.

    Parameters
    ----------
    path
        What was previewed.
    found
        The preview.
    name
        Of the dataset.
    target
        The column with the class, of a table.
    options
        See `armillary.datasets.SaveOptions`.

    Raises
    ------
    DatasetError
        As the import says.
    """
    if found.kind == "table":
        return import_table(path, name, target, **options)
    if found.kind == "image":
        return import_images(path, name, **options)
    return import_files(path, name, {found.kind: found.kind}, label="folder", **options)


def _sample(source: FileSource, member: Member) -> Sample:
    try:
        return Sample(thumbnail(source.read(member.path)), member.class_name, member.path)
    except (BadPictureError, BadFileError):
        return Sample(b"", member.class_name, member.path)


def thumbnail(data: bytes) -> bytes:
    """Return a picture as PNG of at most 96 × 96 pixels; a smaller one keeps its size."""
    picture = decode(data)
    factor = min(1.0, THUMBNAIL_SIDE / max(picture.size))
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return encode_png(fitted(picture, size, 3))


def _preview_table(path: Path, target: str | None) -> Preview:
    frame = read_rows(path, "utf-8-sig", Rejects("skip", path.name)).drop(columns=PLACE, errors="ignore")
    chosen = target if target is not None and target in frame.columns else str(frame.columns[-1])
    counts = frame[chosen].value_counts(dropna=True).sort_index().head(MAX_CLASSES)
    named = {str(value): int(count) for value, count in counts.items()}
    return Preview("table", named, columns=tuple(frame.columns), target=chosen, rows=frame.head(20))
