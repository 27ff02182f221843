"""Import of images with boxes around their objects: Pascal VOC, COCO and YOLO.

All of them become ``(x, y, width, height)`` in pixels from the upper left corner, cut at the edges of the picture.
Corners in VOC files are taken as they stand: the tools of today write them so, though VOC itself counted from 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Unpack
from xml.etree.ElementTree import Element, ParseError

import yaml
from armillary_kernels.texts import translator
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Boxes, Feature, Image
from armillary.datasets.importing.downloads import local_copy
from armillary.datasets.importing.examples import Row, SaveOptions, download_options, save_rows
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.errors import DatasetError
from armillary.inputs import pictures

_ = translator(__file__)

Layout = Literal["voc", "coco", "yolo"]


@dataclass
class BoxedPicture:
    """A picture and its boxes; ``fault`` says why they cannot be used."""

    path: str
    boxes: list[tuple[str, tuple[float, float, float, float]]] = field(default_factory=list)
    relative: bool = False
    fault: str = ""


def import_boxes(path: str | Path, name: str, layout: Layout | None = None, **options: Unpack[SaveOptions]) -> Dataset:
    """Save images and the boxes around their objects as a dataset.

    Parameters
    ----------
    path
        A folder, zip or tar, or its URL.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    layout
        ``"voc"``: one XML file for each image. ``"coco"``: one JSON file for all. ``"yolo"``: one text file for each
        image, in the same folder or in ``labels`` beside ``images``, and the names of the classes in ``classes.txt``
        or a YAML file under ``names``. Told by the files unless given.
    options
        See `SaveOptions`.

    Returns
    -------
    Dataset
        Its columns: ``image``, and ``objects`` with ``bbox`` and ``category``.

    Raises
    ------
    DatasetError
        When there are no annotations, one cannot be used, or nothing can be written.
    """
    with local_copy(path, **download_options(options)) as local, open_source(local.path) as source:
        options.setdefault("source", local.source)
        chosen = layout or _layout_of(source, local.path.name)
        if chosen not in _READERS:
            raise DatasetError(_("The layout is {layout!r}.", layout=chosen), _('Use "voc", "coco" or "yolo".'))
        found, names = read_annotations(source, chosen)
        if not found:
            raise DatasetError(
                _("{place} has no annotations in the layout {layout}.", place=local.path.name, layout=chosen),
                _('Name the layout: "voc", "coco" or "yolo".'),
            )
        features: dict[str, Feature] = {"image": Image(), "objects": Boxes(tuple(names))}
        rows = [
            Row(picture.path, partial(boxed_example, source, picture), partial(source.read, picture.path))
            for picture in found
        ]
        step = {"step": "import_boxes", "layout": chosen}
        return save_rows(rows, features, name, None, step, total=len(rows), ignored=source.ignored(), **options)


def read_annotations(source: FileSource, layout: Layout) -> tuple[list[BoxedPicture], list[str]]:
    """Return the pictures with what is annotated of each, and the names of all classes.

    Raises
    ------
    DatasetError
        When a file that is about all of them cannot be used.
    """
    return _READERS[layout](source)


def _layout_of(source: FileSource, place: str) -> Layout:
    suffixes = {PurePosixPath(path).suffix.lower() for path in source.paths()}
    for suffix, layout in ((".xml", "voc"), (".json", "coco"), (".txt", "yolo")):
        if suffix in suffixes:
            return layout  # type: ignore[return-value]
    raise DatasetError(
        _("{place} has no annotations: no .xml, .json or .txt files.", place=place),
        _("Put them beside the images."),
    )


def boxed_example(source: FileSource, picture: BoxedPicture) -> dict[str, Any]:
    """Return the image and its boxes, checked against its size."""
    if picture.fault:
        raise BadExampleError(picture.fault)
    try:
        data = source.read(picture.path)
        width, height = pictures.decode(data).size
    except (BadFileError, pictures.BadPictureError) as error:
        raise BadExampleError(str(error)) from error
    scale = (width, height) if picture.relative else (1, 1)
    boxes = [_within(box, scale, (width, height)) for _name, box in picture.boxes]
    objects = {"bbox": boxes, "category": [name for name, _box in picture.boxes]}
    return {"image": {"bytes": data, "path": picture.path}, "objects": objects}


def _within(
    box: tuple[float, float, float, float], scale: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return a box in pixels, cut at the picture's edges."""
    x, y, width, height = (value * scale[index % 2] for index, value in enumerate(box))
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    if not all(map(math.isfinite, (x, y, width, height))) or right <= left or bottom <= top:
        shown = ", ".join(f"{value:g}" for value in (x, y, width, height))
        raise BadExampleError(_("the box ({box}) lies outside the picture or is empty", box=shown))
    return left, top, right - left, bottom - top


def _images(source: FileSource) -> list[str]:
    return [path for path in source.paths() if PurePosixPath(path).suffix.lower() in pictures.SUFFIXES]


# Pascal VOC -------------------------------------------------------------------------------------------------


def _read_voc(source: FileSource) -> tuple[list[BoxedPicture], list[str]]:
    images = _images(source)
    by_name = {PurePosixPath(path).stem: path for path in reversed(images)}
    by_name |= {PurePosixPath(path).name: path for path in images}
    annotations = [path for path in source.paths() if path.lower().endswith(".xml")]
    found = [_voc_picture(source, path, by_name) for path in annotations]
    return found, _names(found)


def _voc_picture(source: FileSource, path: str, by_name: Mapping[str, str]) -> BoxedPicture:
    try:
        root = fromstring(source.read(path))
        named = PurePosixPath((root.findtext("filename") or path).replace("\\", "/"))
        image = by_name.get(named.name) or by_name.get(PurePosixPath(path).stem) or by_name.get(named.stem)
        if image is None:
            return BoxedPicture(path, fault=_("there is no image for it"))
        return BoxedPicture(image, [_voc_box(element) for element in root.iter("object")])
    except (ParseError, DefusedXmlException, BadFileError, ValueError, TypeError) as error:
        return BoxedPicture(path, fault=_("it is no Pascal VOC annotation ({error})", error=error))


def _voc_box(element: Element) -> tuple[str, tuple[float, float, float, float]]:
    left, top, right, bottom = (float(element.findtext(f"bndbox/{side}") or "nan") for side in _VOC_SIDES)
    return str(element.findtext("name")).strip(), (left, top, right - left, bottom - top)


_VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")

# COCO -------------------------------------------------------------------------------------------------------


def _read_coco(source: FileSource) -> tuple[list[BoxedPicture], list[str]]:
    found: dict[str, BoxedPicture] = {}
    names: list[str] = []
    images = {PurePosixPath(path).name: path for path in _images(source)} | {path: path for path in _images(source)}
    for path in (path for path in source.paths() if path.lower().endswith(".json")):
        try:
            described = json.loads(source.read(path))
            names += [name for name in _coco_names(described).values() if name not in names]
            _add_coco(described, images, found)
        except (BadFileError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                _("{file} is no COCO annotation ({error!r}).", file=path, error=error),
                _("It needs images, annotations and categories."),
            ) from error
    return list(found.values()), names


def _coco_names(described: Mapping[str, Any]) -> dict[int, str]:
    return {category["id"]: str(category["name"]) for category in described["categories"]}


def _add_coco(described: Mapping[str, Any], images: Mapping[str, str], found: dict[str, BoxedPicture]) -> None:
    names = _coco_names(described)
    by_id: dict[Any, BoxedPicture] = {}
    for image in described["images"]:
        file = image["file_name"]
        path = images.get(file) or images.get(PurePosixPath(file).name)
        missing = "" if path else _("there is no such image")
        by_id[image["id"]] = found.setdefault(path or file, BoxedPicture(path or file, fault=missing))
    for annotation in described["annotations"]:
        picture = by_id.get(annotation["image_id"])
        if picture is None:
            continue  # of an image that this file does not list
        category, box = annotation["category_id"], annotation["bbox"]
        if category not in names or len(box) != 4:
            picture.fault = picture.fault or _("annotation {id} has no box or category", id=annotation.get("id"))
            continue
        picture.boxes.append((names[category], tuple(map(float, box))))  # type: ignore[arg-type]


# YOLO -------------------------------------------------------------------------------------------------------


def _read_yolo(source: FileSource) -> tuple[list[BoxedPicture], list[str]]:
    names = _yolo_names(source)
    paths = set(source.paths())
    found = []
    for image in _images(source):
        beside = str(PurePosixPath(image).with_suffix(".txt"))
        folded = "/".join("labels" if part == "images" else part for part in beside.split("/"))
        annotation = next((path for path in (beside, folded) if path in paths), None)
        found.append(_yolo_picture(source, image, annotation, names))
    return found, names


def _yolo_names(source: FileSource) -> list[str]:
    for path in source.paths():
        file = PurePosixPath(path)
        try:
            if file.name in ("classes.txt", "obj.names"):
                return source.read(path).decode("utf-8-sig").rstrip().splitlines()
            if file.suffix in (".yaml", ".yml"):
                names = yaml.safe_load(source.read(path))["names"]
                listed = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
                return [_name(name) for name in listed]
        except (BadFileError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            what = _("{file} does not name the classes ({error!r}).", file=path, error=error)
            raise DatasetError(what, _("Write one name a line into classes.txt.")) from error
    raise DatasetError(
        _("The names of the classes are missing."),
        _("Write one a line into classes.txt, or under names in a YAML file."),
    )


def _name(name: Any) -> str:
    if not isinstance(name, (str, int, float)):  # what a YAML file repeats by reference may be endless as text
        raise TypeError(type(name).__name__)
    return str(name)


def _yolo_picture(source: FileSource, image: str, annotation: str | None, names: list[str]) -> BoxedPicture:
    picture = BoxedPicture(image, relative=True)
    if annotation is None:
        return picture  # YOLO's way to say that there is nothing in it
    try:
        lines = source.read(annotation).decode().splitlines()
    except (BadFileError, UnicodeDecodeError) as error:
        picture.fault = _("{file} cannot be read: {error}", file=annotation, error=error)
        return picture
    for number, line in enumerate(lines, 1):
        try:
            picture.boxes += [_yolo_box(line, names)] if line.strip() else []
        except (ValueError, IndexError) as error:
            picture.fault = _("{file}, line {line}: it is no box ({error})", file=annotation, line=number, error=error)
    return picture


def _yolo_box(line: str, names: list[str]) -> tuple[str, tuple[float, float, float, float]]:
    category, x, y, width, height = line.split()
    if int(category) < 0:
        raise ValueError(category)
    centre_x, centre_y, wide, high = float(x), float(y), float(width), float(height)
    return names[int(category)], (centre_x - wide / 2, centre_y - high / 2, wide, high)


def _names(found: Iterable[BoxedPicture]) -> list[str]:
    return sorted({name for picture in found for name, _box in picture.boxes})


_READERS: dict[str, Callable[[FileSource], tuple[list[BoxedPicture], list[str]]]] = {
    "voc": _read_voc,
    "coco": _read_coco,
    "yolo": _read_yolo,
}
