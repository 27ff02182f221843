"""Files that lie in folders of train, validation and test keep that division."""

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets.importing.split_folders import splits_of
from PIL import Image


@pytest.mark.parametrize(
    ("paths", "folders_below", "splits"),
    [
        (["train/a/1.png", "test/a/1.png"], 1, ["train", "test"]),
        (["birds/Train/a/1.png", "birds/val/b/1.png"], 1, ["train", "validation"]),
        (["images/train/1.jpg", "images/valid/1.jpg"], 0, ["train", "validation"]),
        (["train/1.png", "test/1.png"], 1, None),  # these are the classes
        (["a/1.png", "b/1.png"], 1, None),
        (["train/a/1.png", "train/b/1.png"], 1, None),
        (["val/a/1.png", "test/b/1.png"], 1, None),
        (["train/a/1.png", "test/a/1.png", "other/a/1.png"], 1, None),
        (["train/a/1.png", "2.png"], 1, None),
        ([], 0, None),
    ],
)
def test_what_folders_say(paths, folders_below, splits):
    assert splits_of(paths, folders_below) == splits


@pytest.fixture
def divided(tmp_path):
    """Pictures of two classes: four each to train on, one each to test."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 1)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pets"


def test_pictures_in_class_folders_keep_it(store, divided):
    data = datasets.import_images(divided, "pets")
    assert (data.splits, data.class_names) == ({"train": 8, "test": 2}, ("cat", "dog"))
    assert {example["image"].path.split("/")[0] for example in data.take(data.rows("test"))} == {"test"}
    assert data.manifest.recipe[0]["split"] == "folders"


def test_files_keep_it_unless_shares_are_given(store, divided):
    kept = datasets.import_files(divided, "kept", {"image": "image"}, label="folder")
    assert kept.splits == {"train": 8, "test": 2}
    anew = datasets.import_files(divided, "anew", {"image": "image"}, label="folder", split={"train": 0.5, "test": 0.5})
    assert anew.splits == {"train": 6, "test": 4}


def test_images_with_boxes_keep_it(store, divided):
    (divided / "classes.txt").write_text("pet")
    for picture in divided.rglob("*.png"):
        picture.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5")
    assert datasets.import_boxes(divided, "pets").splits == {"train": 8, "test": 2}
