"""Boxes in three layouts: the same boxes from each; what is wrong is told by its file."""

import json

import pytest
from armillary import datasets
from armillary.datasets import Boxes
from armillary.errors import DatasetError
from PIL import Image

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
        (
            "voc",
            "one.xml",
            b'<?xml version="1.0" encoding="none"?><annotation/>',
            r"one.xml: it is no Pascal VOC annotation",
        ),
        ("voc", "one.xml", b"<annotation><object/></annotation>", r"one.xml: an object has no name"),
        (
            "voc",
            "again.xml",
            b"<annotation><filename>one.png</filename></annotation>",
            "about the same image as again.xml",
        ),
        ("coco", "instances.json", b"[" * 100_000, r"is no COCO annotation \(RecursionError"),
        ("yolo", "classes.txt", b"cat\n\ndog\n", r"classes.txt does not name the classes"),
        (
            "yolo",
            "labels/one.txt",
            b"no box\n0 1 1 1 1\nnone",
            r"labels/one.txt, line 1: there are 2 values, not a class and x, y,",
        ),
        ("yolo", "a.yaml", b"names: [[cat], [dog]]", r"a.yaml does not name the classes \(TypeError\('list'\)"),
        ("yolo", "a.yaml", b"names: {cat", r"a.yaml does not name the classes"),
        ("yolo", "labels/one.txt", b"0 0.5 0.5 0.1", r"labels/one.txt, line 1: there are 4 values, not a class"),
        ("yolo", "labels/one.txt", b"0 0.5 0.5 0.1 wide", r"labels/one.txt, line 1: it is no box \(could not convert"),
        ("yolo", "labels/one.txt", b"9 0.5 0.5 0.1 0.1", r"labels/one.txt, line 1: there is no class 9"),
        ("yolo", "labels/one.txt", b"-1 0.5 0.5 0.1 0.1", r"labels/one.txt, line 1: there is no class -1"),
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


def test_numbers_of_classes_in_a_yaml_file_need_not_begin_with_0(store, pictures):
    write_yolo(pictures, {"one.png": [((0, 0, 4, 2), "dog")]})
    (pictures / "classes.txt").unlink()
    (pictures / "a.yaml").write_text("other: settings")
    (pictures / "data.yaml").write_text("names: {1: cat, 2: dog}")
    ds = datasets.import_boxes(pictures, "boxes", "yolo", split=None)
    assert [row["objects"]["category"] for row in ds.iterate()] == [["cat"], [], []]


LAYOUTS_OF_SPLITS = {
    "voc": ("{split}/JPEGImages", "{split}/Annotations"),
    "coco": ("{split}", "{split}"),
    "yolo": ("{split}/images", "{split}"),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_pictures_of_one_name_in_several_folders_keep_their_own_boxes(store, tmp_path, png, layout):
    """The boxes of both went to the picture that came last."""
    truth = {"train": ((0.0, 0.0, 4.0, 2.0), "cat"), "val": ((8.0, 4.0, 12.0, 6.0), "dog")}
    for number, (split, box) in enumerate(truth.items()):
        images, annotations = (tmp_path / "two" / place.format(split=split) for place in LAYOUTS_OF_SPLITS[layout])
        for folder in (images, annotations):
            folder.mkdir(parents=True, exist_ok=True)
        (images / "one.png").write_bytes(png((40, 20), number))
        WRITERS[layout](annotations, {"one.png": [box]})
    ds = datasets.import_boxes(tmp_path / "two", "boxes", layout, split=None)
    found = {row["image"].path.split("/")[0]: row["objects"] for row in ds.iterate()}
    assert found == {split: {"bbox": [list(box)], "category": [label]} for split, (box, label) in truth.items()}


def test_a_picture_that_an_annotation_may_mean_or_not_is_not_guessed_at(store, pictures, png):
    (pictures / "more").mkdir()
    (pictures / "more" / "one.png").write_bytes(png((40, 20)))
    for layout, file in (("voc", "one.xml"), ("coco", "one.png")):
        WRITERS[layout](pictures, TRUTH)
        several = rf"1 of 2 .*{file}: there are several images called 'one.png': images/one.png, more/one.png"
        with pytest.raises(DatasetError, match=several):
            datasets.import_boxes(pictures, "boxes", layout)


def test_what_no_annotation_is_about_and_what_is_about_no_picture_is_reported(store, pictures):
    unused = {"file": "images/other.png", "reason": "no annotation is about it"}
    for layout in ("voc", "coco"):
        assert import_written(pictures, layout, TRUTH).report["ignored"] == [unused]
    lost = import_written(pictures, "yolo", {**TRUTH, "gone.png": OTHER_BOX}).report["ignored"]
    assert lost == [{"file": "labels/gone.txt", "reason": "there is no image for it"}]


def test_annotations_of_pictures_that_are_not_listed_are_counted(store, pictures):
    write_coco(pictures, TRUTH)
    described = json.loads((pictures / "instances.json").read_text())
    described["annotations"][0]["image_id"] = "0"
    (pictures / "instances.json").write_text(json.dumps(described))
    ds = datasets.import_boxes(pictures, "boxes", "coco", split=None)
    said = {"file": "instances.json", "reason": "1 annotations are of images that it does not list"}
    assert said in ds.report["ignored"]
    for annotation in described["annotations"]:
        annotation["image_id"] = "1"
    (pictures / "instances.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match=r"instances.json is no COCO annotation .*image_id '1'"):
        datasets.import_boxes(pictures, "boxes", "coco")


def test_one_bad_annotation_of_a_coco_file_costs_one_picture(store, pictures):
    write_coco(pictures, TRUTH)
    described = json.loads((pictures / "instances.json").read_text())
    described["annotations"][0] |= {"bbox": ["left", 1, 1, 1], "id": 17}
    (pictures / "instances.json").write_text(json.dumps(described))
    ds = datasets.import_boxes(pictures, "boxes", "coco", on_error="skip", split=None)
    assert (len(ds), ds.skipped["reason"].tolist()) == (1, ["annotation 17 has no box or category"])


def test_a_category_of_a_coco_file_that_is_not_listed_is_named(store, pictures):
    write_coco(pictures, TRUTH)
    described = json.loads((pictures / "instances.json").read_text())
    described["annotations"][1]["category_id"] = 5
    for annotation in described["annotations"]:
        del annotation["id"]  # which it need not have
    (pictures / "instances.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match=r"two.png: category 5 of annotation 2 is not listed"):
        datasets.import_boxes(pictures, "boxes", "coco")


def test_boxes_of_a_turned_photo_are_those_of_the_upright_one(store, tmp_path):
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter: 20 wide and 40 high
    (tmp_path / "photo").mkdir()
    turned.save(tmp_path / "photo" / "one.jpg", exif=exif)
    (tmp_path / "photo" / "one.txt").write_text("0 0.5 0.75 1 0.5")
    (tmp_path / "photo" / "classes.txt").write_text("cat")
    row = next(datasets.import_boxes(tmp_path / "photo", "boxes", split=None).iterate())
    assert (row["image"].image().size, row["objects"]["bbox"]) == ((20, 40), [[0, 20, 20, 20]])


def test_a_picture_without_boxes_is_an_example_too(store, pictures):
    ds = import_written(pictures, "yolo", TRUTH)
    assert [len(row["objects"]["bbox"]) for row in ds.iterate()] == [1, 0, 2]


def test_the_name_of_a_class_may_have_a_separator_in_it(store, pictures):
    """It became two classes, and each number after it meant another one."""
    write_yolo(pictures, TRUTH)
    (pictures / "classes.txt").write_text("cat\u2028x\ndog\n", encoding="utf-8")
    ds = datasets.import_boxes(pictures, "boxes", "yolo", split=None)
    assert ds.features["objects"] == Boxes(("cat\u2028x", "dog"))
    assert [row["objects"]["category"] for row in ds.iterate()] == [["cat\u2028x"], [], ["dog", "cat\u2028x"]]
