"""A first look at files that are examples: pictures, sounds, videos, texts, boxes, translations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets.importing.boxes import BoxedPicture, boxed_example, read_annotations
from armillary.datasets.importing.files import FOLDER_LABEL, FileGroups, class_of
from armillary.datasets.importing.images import pictures_by_class
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.datasets.importing.split_folders import splits_of
from armillary.datasets.importing.translations import translation_rows
from armillary.datasets.recognising.looks import ROWS, Preview
from armillary.datasets.recognising.samples import Sample, boxed_thumbnail, evenly, sample
from armillary.datasets.recognising.ways import Way
from armillary.inputs.pictures import BadPictureError

_ = translator(__file__)

_MOST_BOXED = 24
_EXCERPT = 80


def images(path: Path, way: Way, samples: int) -> Preview:
    """Look at pictures in class folders."""
    with open_source(path) as source:
        members, _ignored = pictures_by_class(source)
        counts = Counter(member.class_name for member in members)
        found = [sample(source.read, member.path, member.class_name) for member in evenly(members, samples)]
    note = _("{n} pictures, {classes} classes", n=f"{len(members):,}", classes=len(counts))
    divided = splits_of([member.path for member in members], 1) is not None
    return Preview(way, (), note, dict(sorted(counts.items())), tuple(found), divided=divided)


def boxes(path: Path, way: Way, samples: int) -> Preview:
    """Look at pictures with the boxes around their objects drawn into them."""
    with open_source(path) as source:
        annotated = read_annotations(source, way.settings["layout"]).pictures
        chosen = evenly(annotated, min(samples, _MOST_BOXED))
        found = tuple(_boxed(source, picture) for picture in chosen)
    counts = Counter(name for picture in annotated for name, _box in picture.boxes)
    numbers = {"n": f"{len(annotated):,}", "boxes": f"{counts.total():,}", "classes": len(counts)}
    note = _("{n} pictures, {boxes} boxes of {classes} classes", **numbers)
    divided = splits_of([picture.path for picture in annotated]) is not None
    return Preview(way, (), note, dict(sorted(counts.items())), found, divided=divided)


def _boxed(source: FileSource, picture: BoxedPicture) -> Sample:
    names = Counter(name for name, _box in picture.boxes)
    caption = ", ".join(name if count == 1 else f"{name} × {count}" for name, count in names.items()) or _("no box")
    try:
        example = boxed_example(source, picture)
        return Sample(boxed_thumbnail(example["image"]["bytes"], example["objects"]["bbox"]), caption, picture.path)
    except (BadExampleError, BadPictureError):
        return Sample(b"", picture.path, picture.path)


def translations(path: Path, way: Way, _samples: int) -> Preview:
    """Look at the first translation pairs."""
    languages = way.settings["languages"]
    rows: list[dict[str, Any]] = []
    faults = 0
    for row in islice(translation_rows(path, languages, []), 10 * ROWS):
        try:
            rows.append(dict(row.read()["translation"]))
        except BadExampleError:
            faults += 1
    note = "" if rows else _("There are no pairs of these languages.")
    if faults:
        note = " ".join((note, _("Some entries cannot be used; saving says which.")))
    return Preview(way, (), note.strip(), rows=pd.DataFrame(rows[:ROWS], columns=list(languages)) if rows else None)


def files(path: Path, way: Way, samples: int) -> Preview:
    """Look at files of one kind, or at those that make one example together."""
    parts, label = way.settings["parts"], way.settings["label"]
    with open_source(path) as source:
        finder = FileGroups(source, parts)
        groups, metadata = finder.groups(), finder.metadata()
        columns = tuple(sorted({key for values in metadata.values() for key in values}))
        counts = (
            Counter(class_of(label, group.first, metadata, columns) for group in groups)
            if label
            else Counter[str | None]()
        )
        rows = []
        for group in groups[:ROWS]:
            shown = {column: _shown(source, files, parts) for column, files in group.files.items()}
            rows.append({**shown, **{key: metadata.get(group.first, {}).get(key) for key in columns}})
        first = next(iter(way.settings["kinds"]), None)
        pictures = evenly(groups, samples) if first == "image" else []
        found = [sample(source.read, group.first, PurePosixPath(group.first).name) for group in pictures]
    divided = bool(finder.splits(groups, 1 if label == FOLDER_LABEL else 0))
    lacking = sum(not all(group.files.values()) for group in groups)
    note = _("{n} examples", n=f"{len(groups):,}")
    if lacking:
        note += " " + _("({n} of them lack a file)", n=f"{lacking:,}")
    listed = pd.DataFrame(rows) if rows and (not found or len(rows[0]) > 1) else None
    named = {str(name): count for name, count in sorted(counts.items(), key=str) if name is not None}
    return Preview(way, (), note, named, tuple(found), columns, listed, divided)


def _shown(source: FileSource, files: Sequence[str], parts: Mapping[str, str]) -> str | None:
    """Return a file's name, or how its text begins."""
    file = next(iter(files), None)
    if file is None or PurePosixPath(file).suffix.lower() not in (".txt", ".md") or len(parts) == 1:
        return file
    try:
        return source.read(file).decode("utf-8-sig", "replace").strip()[:_EXCERPT]
    except BadFileError:
        return file


def hub(_path: Path | None, way: Way, _samples: int) -> Preview:
    """Say what is loaded when it is saved."""
    return Preview(way, note=_("{name} is loaded when it is saved.", name=way.settings["repository"]))
