"""Import of images with boxes around their objects: Pascal VOC, COCO and YOLO.

All of them become ``(x, y, width, height)`` in pixels from the upper left corner, cut at the edges of the picture,
which is taken upright, as it is shown and read.
Corners in VOC files are taken as they stand: the tools of today write them so, though VOC itself counted from 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Unpack
from xml.etree.ElementTree import Element, ParseError

import yaml
from armillary_kernels.texts import translator
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Boxes, Feature, Image
from armillary.datasets.importing.annotated_images import AnnotatedImages
from armillary.datasets.importing.downloads import local_copy
from armillary.datasets.importing.examples import Row, SaveOptions, download_options, save_rows
from armillary.datasets.importing.lines import lines_of
from armillary.datasets.importing.rejects import BadExampleError, first_of
from armillary.datasets.importing.sources import BadFileError, FileSource, open_source
from armillary.datasets.importing.split_folders import FOLDERS, splits_of
from armillary.datasets.plain_values import short
from armillary.errors import DatasetError
from armillary.inputs import pictures

_ = translator(__file__)

Layout = Literal["voc", "coco", "yolo"]


@dataclass
class BoxedPicture:
    """A picture and its boxes; ``fault`` says why they cannot be used, ``called`` what an annotation calls it."""

    path: str
    boxes: list[tuple[str, tuple[float, float, float, float]]] = field(default_factory=list)
    relative: bool = False
    fault: str = ""
    called: str = ""


@dataclass
class Annotations:
    """What the annotations of a layout say: pictures, the names of the classes, and what was left out and why."""

    pictures: list[BoxedPicture] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)


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

    Notes
    -----
    Images that all lie in folders named ``train``, ``validation`` (or ``val``) and ``test`` keep that division, unless
    ``split`` is given.

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
        images = AnnotatedImages(source)
        found = read_annotations(source, chosen, images)
        if not found.pictures:
            raise DatasetError(
                _("{place} has no annotations in the layout {layout}.", place=local.path.name, layout=chosen),
                _('Name the layout: "voc", "coco" or "yolo".'),
            )
        features: dict[str, Feature] = {"image": Image(), "objects": Boxes(tuple(found.names))}
        of_folder = None if "split" in options else splits_of([picture.path for picture in found.pictures])
        rows = [
            Row(picture.path, partial(boxed_example, source, picture), partial(source.read, picture.path), split)
            for picture, split in zip(found.pictures, of_folder or repeat(None), strict=False)
        ]
        ignored = [*source.ignored(), *first_of(found.left_out), *first_of(_without_annotation(images, found))]
        step = {"step": "import_boxes", "layout": chosen, **(FOLDERS if of_folder else {})}
        return save_rows(rows, features, name, None, step, total=len(rows), ignored=ignored, **options)


def _without_annotation(images: AnnotatedImages, found: Annotations) -> list[dict[str, str]]:
    known = {picture.path for picture in found.pictures}
    reason = _("no annotation is about it")
    return [{"file": path, "reason": reason} for path in images.paths if path not in known]


def read_annotations(source: FileSource, layout: Layout, images: AnnotatedImages | None = None) -> Annotations:
    """Return what is annotated; raises DatasetError when a file that is about all images cannot be used."""
    return _READERS[layout](source, images or AnnotatedImages(source))


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
        width, height = pictures.upright(pictures.decode(data)).size
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


# Pascal VOC -------------------------------------------------------------------------------------------------


def _read_voc(source: FileSource, images: AnnotatedImages) -> Annotations:
    annotations = [path for path in source.paths() if path.lower().endswith(".xml")]
    found = [_voc_picture(source, path, images) for path in annotations]
    first: dict[str, str] = {}
    for path, picture in zip(annotations, found, strict=True):
        other = first.setdefault(picture.path, path)
        if other != path:
            picture.fault = picture.fault or _("{file} is about the same image as {other}", file=path, other=other)
    return Annotations(found, sorted({name for picture in found for name, _box in picture.boxes}))


def _voc_picture(source: FileSource, path: str, images: AnnotatedImages) -> BoxedPicture:
    try:
        root = fromstring(source.read(path))
        named = (root.findtext("filename") or path).replace("\\", "/")
        stem = PurePosixPath(path).stem
        image = images.find(named, path) or images.find(stem, path) or images.find(PurePosixPath(named).stem, path)
        if image is None:
            return BoxedPicture(path, fault=_("there is no image for it"))
        return BoxedPicture(image, [_voc_box(element) for element in root.iter("object")])
    except BadExampleError as error:
        return BoxedPicture(path, fault=str(error))
    except (ParseError, DefusedXmlException, BadFileError, ValueError, TypeError, LookupError) as error:
        return BoxedPicture(path, fault=_("it is no Pascal VOC annotation ({error})", error=error))


def _voc_box(element: Element) -> tuple[str, tuple[float, float, float, float]]:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise BadExampleError(_("an object has no name"))
    left, top, right, bottom = (float(element.findtext(f"bndbox/{side}") or "nan") for side in _VOC_SIDES)
    return name, (left, top, right - left, bottom - top)


_VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")

# COCO -------------------------------------------------------------------------------------------------------


def _read_coco(source: FileSource, images: AnnotatedImages) -> Annotations:
    by_path: dict[str, BoxedPicture] = {}
    found = Annotations()
    for path in (path for path in source.paths() if path.lower().endswith(".json")):
        try:
            described = json.loads(source.read(path))
            names = _coco_names(described)
            found.names += [name for name in dict.fromkeys(names.values()) if name not in found.names]
            by_id = {
                image["id"]: _coco_picture(image["file_name"], path, images, by_path) for image in described["images"]
            }
            numbered = enumerate(described["annotations"], 1)
            strays = [each for number, each in numbered if not _add_coco_box(each, number, names, by_id)]
            if strays and len(strays) == len(described["annotations"]):
                raise ValueError(f"image_id {strays[0].get('image_id')!r}")
        except (BadFileError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DatasetError(
                _("{file} is no COCO annotation ({error!r}).", file=path, error=error),
                _("It needs images, annotations and categories."),
            ) from error
        if strays:
            reason = _("{n} annotations are of images that it does not list", n=len(strays))
            found.left_out.append({"file": path, "reason": reason})
    found.pictures = list(by_path.values())
    return found


def _coco_names(described: Mapping[str, Any]) -> dict[int, str]:
    return {category["id"]: _name(category["name"]) for category in described["categories"]}


def _coco_picture(
    called: str, annotation: str, images: AnnotatedImages, by_path: dict[str, BoxedPicture]
) -> BoxedPicture:
    """Return the picture that an annotation file names, which several of these files may do."""
    try:
        path = images.find(called, annotation)
        fault = "" if path else _("there is no such image")
    except BadExampleError as error:
        path, fault = None, str(error)
    picture = by_path.setdefault(path or called, BoxedPicture(path or called, fault=fault, called=called))
    if picture.called != called:
        both = _("{one} and {other} are both taken for it", one=picture.called, other=called)
        picture.fault = picture.fault or both
    return picture


def _add_coco_box(
    annotation: Mapping[str, Any], number: int, names: Mapping[int, str], by_id: Mapping[Any, BoxedPicture]
) -> bool:
    """Add a box to its picture; return False where that is not listed."""
    picture = by_id.get(annotation["image_id"])
    if picture is None:
        return False
    called = annotation.get("id", number)
    try:
        category = annotation["category_id"]
        x, y, width, height = map(float, annotation["bbox"])
        if category in names:
            picture.boxes.append((names[category], (x, y, width, height)))
        else:
            what = _("category {category} of annotation {id} is not listed", category=short(category), id=called)
            picture.fault = picture.fault or what
    except (KeyError, TypeError, ValueError):
        picture.fault = picture.fault or _("annotation {id} has no box or category", id=called)
    return True


# YOLO -------------------------------------------------------------------------------------------------------


def _read_yolo(source: FileSource, images: AnnotatedImages) -> Annotations:
    names = _yolo_names(source)
    texts = {path for path in source.paths() if path.endswith(".txt")}
    found = Annotations(names=list(dict.fromkeys(names.values())))
    used = set()
    for image in images.paths:
        beside = str(PurePosixPath(image).with_suffix(".txt"))
        folded = "/".join("labels" if part == "images" else part for part in beside.split("/"))
        annotation = next((path for path in (beside, folded) if path in texts), None)
        used.add(annotation)
        found.pictures.append(_yolo_picture(source, image, annotation, names))
    lost = sorted(path for path in texts - used if PurePosixPath(path).name not in _CLASSES)
    found.left_out = [{"file": path, "reason": _("there is no image for it")} for path in lost]
    return found


def _yolo_names(source: FileSource) -> dict[int, str]:
    """Return the name of each class by its number, which a YAML file need not begin with 0."""
    for path in source.paths():
        file = PurePosixPath(path)
        try:
            if file.name in _CLASSES:
                lines = lines_of(source.read(path).decode("utf-8-sig").rstrip())
                return dict(enumerate(map(_name, map(str.strip, lines))))
            if file.suffix in (".yaml", ".yml"):
                described = yaml.safe_load(source.read(path))
                if isinstance(described, dict) and "names" in described:
                    names = described["names"]
                    numbered = names.items() if isinstance(names, dict) else enumerate(names)
                    return {int(number): _name(name) for number, name in sorted(numbered)}
        except (BadFileError, ValueError, yaml.YAMLError, TypeError, RecursionError) as error:
            what = _("{file} does not name the classes ({error!r}).", file=path, error=error)
            raise DatasetError(what, _("Write one name a line into classes.txt.")) from error
    raise DatasetError(
        _("The names of the classes are missing."),
        _("Write one a line into classes.txt, or under names in a YAML file."),
    )


def _name(name: Any) -> str:
    if not isinstance(name, (str, int, float)):  # what a YAML file repeats by reference may be endless as text
        raise TypeError(type(name).__name__)
    if not str(name).strip():
        raise ValueError(name)
    return str(name)


def _yolo_picture(source: FileSource, image: str, annotation: str | None, names: Mapping[int, str]) -> BoxedPicture:
    picture = BoxedPicture(image, relative=True)
    if annotation is None:
        return picture  # YOLO's way to say that there is nothing in it
    try:
        lines = lines_of(source.read(annotation).decode("utf-8-sig"))
    except (BadFileError, UnicodeDecodeError) as error:
        picture.fault = _("{file} cannot be read: {error}", file=annotation, error=error)
        return picture
    for number, line in enumerate(lines, 1):
        try:
            picture.boxes += [_yolo_box(line, names)] if line.strip() else []
        except BadExampleError as error:
            picture.fault = _("{file}, line {line}: {reason}", file=annotation, line=number, reason=error)
            break
    return picture


def _yolo_box(line: str, names: Mapping[int, str]) -> tuple[str, tuple[float, float, float, float]]:
    values = line.split()
    if len(values) != 1 + len(_YOLO_SIDES):
        raise BadExampleError(
            _("there are {n} values, not a class and {sides}", n=len(values), sides=", ".join(_YOLO_SIDES))
        )
    try:
        category, (x, y, width, height) = int(values[0]), map(float, values[1:])
    except ValueError as error:
        raise BadExampleError(_("it is no box ({error})", error=error)) from error
    if category not in names:
        raise BadExampleError(_("there is no class {number}", number=category))
    return names[category], (x - width / 2, y - height / 2, width, height)


_YOLO_SIDES = ("x", "y", "width", "height")
_CLASSES = ("classes.txt", "obj.names")
_READERS: dict[str, Callable[[FileSource, AnnotatedImages], Annotations]] = {
    "voc": _read_voc,
    "coco": _read_coco,
    "yolo": _read_yolo,
}
