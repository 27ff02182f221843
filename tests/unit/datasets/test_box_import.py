"""Boxes in three layouts: the same boxes from each; what is wrong is told by its file."""

import json

import pytest
from armillary import datasets
from armillary.datasets import Boxes
from armillary.errors import DatasetError

# Of each picture of 40 × 20 pixels: (x, y, width, height) and class.
TRUTH = {"one.png": [((10.0, 5.0, 20.0, 10.0), "cat")], "two.png": [((0, 0, 40, 20), "dog"), ((4, 2, 8, 4), "cat")]}
OTHER_BOX = [((0, 0, 4, 2), "dog")]


def write_voc(root, truth):
    for name, boxes in truth.items():
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + width}</xmax>"
            f"<ymax>{y + height}</ymax></bndbox></object>"
            for (x, y, width, height), label in boxes
        )
        text = f"<annotation><filename>{name}</filename>{objects}</annotation>"
        (root / name).with_suffix(".xml").write_text(text)


def write_coco(root, truth):
    images = [{"id": number, "file_name": name} for number, name in enumerate(truth)]
    labels = {"cat": 7, "dog": 3}
    annotations = [
        {"id": 1, "image_id": number, "category_id": labels[label], "bbox": box}
        for number, boxes in enumerate(truth.values())
        for box, label in boxes
    ]
    categories = [{"id": number, "name": name} for name, number in labels.items()]
    described = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(described))


def write_yolo(root, truth):
    (root / "labels").mkdir(exist_ok=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    for name, boxes in truth.items():
        lines = [
            f"{['cat', 'dog'].index(label)} {(x + w / 2) / 40} {(y + h / 2) / 20} {w / 40} {h / 20}"
            for (x, y, w, h), label in boxes
        ]
        (root / "labels" / name).with_suffix(".txt").write_text("\n".join(lines) + "\n")


WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}


@pytest.fixture
def pictures(tmp_path, png):
    root = tmp_path / "pictures"
    (root / "images").mkdir(parents=True)
    for name in (*TRUTH, "other.png"):
        (root / "images" / name).write_bytes(png((40, 20)))
    return root


def import_written(root, layout, truth, **options):
    WRITERS[layout](root, truth)
    return datasets.import_boxes(root, f"boxes-{layout}", layout, split=None, **options)


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_boxes(store, pictures, layout):
    ds = import_written(pictures, layout, {**TRUTH, "other.png": OTHER_BOX})
    assert ds.features["objects"] == Boxes(("cat", "dog"))
    found = {
        row["image"].path.split("/")[1]: list(
            zip(map(tuple, row["objects"]["bbox"]), row["objects"]["category"], strict=True)
        )
        for row in ds.iterate()
    }
    assert found == {**TRUTH, "other.png": OTHER_BOX}
    assert datasets.import_boxes(pictures, "told").features == ds.features


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("box", [(50, 5, 5, 5), (3, 3, 0, 2), (float("nan"), 1, 2, 3)])
def test_a_box_outside_the_picture_or_empty_is_named(store, pictures, layout, box):
    truth = {**TRUTH, "other.png": [(box, "cat")]}
    with pytest.raises(DatasetError, match=r"1 of 3 examples .*other.*: the box \(.*\) lies outside the picture or is"):
        import_written(pictures, layout, truth)
    ds = import_written(pictures, layout, truth, on_error="skip")
    assert (len(ds), len(ds.skipped)) == (2, 1)


def test_a_box_is_cut_at_the_edges(store, pictures):
    ds = import_written(pictures, "coco", {"one.png": [((-5, 10, 10, 30), "cat")]})
    assert next(ds.iterate())["objects"]["bbox"] == [[0, 10, 5, 10]]


@pytest.mark.parametrize(
    ("layout", "file", "content", "message"),
    [
        ("voc", "one.xml", b"<annotation><object>", r"one.xml: it is no Pascal VOC annotation"),
        ("voc", "one.xml", b"", r"one.xml: it is no Pascal VOC annotation"),
        ("voc", "gone.xml", b"<annotation/>", r"gone.xml: there is no image for it"),
        (
            "voc",
            "one.xml",
            b'<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>',
            r"one.xml: it is no Pascal VOC annotation \(EntitiesForbidden",
        ),
        ("coco", "instances.json", b'{"images": []', r"instances.json is no COCO annotation"),
        ("coco", "instances.json", b'{"images": []}', r"is no COCO annotation \(KeyError\('categories'\)"),
        ("yolo", "a.yaml", b"names: [[cat], [dog]]", r"a.yaml does not name the classes \(TypeError\('list'\)"),
        ("yolo", "a.yaml", b"names: {cat", r"a.yaml does not name the classes"),
        ("yolo", "labels/one.txt", b"0 0.5 0.5 0.1", r"labels/one.txt, line 1: it is no box"),
        ("yolo", "labels/one.txt", b"9 0.5 0.5 0.1 0.1", r"labels/one.txt, line 1: it is no box"),
        ("yolo", "labels/one.txt", b"-1 0.5 0.5 0.1 0.1", r"labels/one.txt, line 1: it is no box"),
        ("yolo", "labels/one.txt", b"\xff\xfe", r"labels/one.txt cannot be read"),
        ("yolo", "images/one.png", b"", r"images/one.png: the file is empty"),
    ],
)
def test_what_is_damaged_is_named(store, pictures, layout, file, content, message):
    WRITERS[layout](pictures, TRUTH)
    (pictures / file).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        datasets.import_boxes(pictures, "boxes", layout)
    assert datasets.list() == []


def test_what_is_missing_is_named(store, pictures):
    with pytest.raises(DatasetError, match=r"pictures has no annotations: no .xml, .json or .txt files"):
        datasets.import_boxes(pictures, "boxes")
    with pytest.raises(DatasetError, match=r"The layout is 'pascal'"):
        datasets.import_boxes(pictures, "boxes", "pascal")
    with pytest.raises(DatasetError, match=r"The names of the classes are missing"):
        datasets.import_boxes(pictures, "boxes", "yolo")
    with pytest.raises(DatasetError, match=r"has no annotations in the layout voc"):
        datasets.import_boxes(pictures, "boxes", "voc")
    write_coco(pictures, {**TRUTH, "gone.png": OTHER_BOX})
    with pytest.raises(DatasetError, match=r"1 of 3 examples .*gone.png: there is no such image"):
        datasets.import_boxes(pictures, "boxes")


def test_classes_named_in_a_yaml_file(store, pictures):
    write_yolo(pictures, TRUTH)
    (pictures / "classes.txt").unlink()
    for text in ("names: [cat, dog]", "names: {1: dog, 0: cat}"):
        (pictures / "data.yaml").write_text(text)
        assert datasets.import_boxes(pictures, "boxes", "yolo").features["objects"] == Boxes(("cat", "dog"))


def test_a_picture_without_boxes_is_an_example_too(store, pictures):
    ds = import_written(pictures, "yolo", TRUTH)
    assert [len(row["objects"]["bbox"]) for row in ds.iterate()] == [1, 0, 2]
