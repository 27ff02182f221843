"""Import of class folders and zips: real pictures, broken ones and hostile archives."""

import struct
import zipfile

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets.importing import sources
from armillary.errors import DatasetError
from PIL import Image
from support.bad_files import huge_png


@pytest.fixture
def make_zip(tmp_path, png):
    """Write a zip with six good pictures and what else is given; a name maps to bytes."""

    def make(extra=(), classes=("a", "b")):
        path = tmp_path / "pictures.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for label in classes:
                for index in range(3):
                    archive.writestr(f"{label}/{index}.png", png(color=10 * index))
            for name, data in extra:
                archive.writestr(name, data)
        return path

    return make


def zip_of(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"digits/{file.relative_to(folder)}")
    return path


def test_a_folder_and_its_zip_hold_the_same_examples(store, class_folders, few_digits, tmp_path):
    from_folder = datasets.import_images(class_folders, "folder")
    from_zip = datasets.import_images(zip_of(class_folders, tmp_path / "digits.zip"), "zipped")
    x, y = few_digits
    for ds in (from_folder, from_zip):
        pictures, labels = ds.arrays(None)
        np.testing.assert_array_equal(pictures[..., 0], x)
        np.testing.assert_array_equal(labels, y)
        assert ds.class_names == tuple("0123456789")


def test_rows_keep_their_path_and_unchanged_files_their_bytes(store, class_folders):
    ds = datasets.import_images(class_folders, "digits")
    path = ds.to_pandas()["image"].iloc[0]["path"]
    assert ds.encoded_images([0])[0] == (class_folders / path).read_bytes()
    assert len(ds.encoded_images([119, 3, 3])) == 3


def test_sizes_and_modes_are_made_alike(store, tmp_path, png):
    kinds = {
        "a/rgb.png": png((40, 20), "red", "RGB"),
        "a/grey.png": png((20, 20), 128),
        "a/clear.png": png((20, 20), (0, 0, 0, 0), "RGBA"),
        "b/photo.jpg": png((40, 20), "blue", "RGB", format="JPEG"),
        "b/deep.png": png((20, 20), 65535, "I;16"),
        "b/palette.gif": png((20, 20), 1, "P", format="GIF"),
    }
    for name, data in kinds.items():
        file = tmp_path / "mixed" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    ds = datasets.import_images(tmp_path / "mixed", "mixed", size=(10, 12))
    pictures, _ = ds.arrays(None)
    assert pictures.shape == (6, 10, 12, 3)
    assert (pictures[0] == 255).all(), "transparent becomes white"
    assert (pictures[3] == 255).all(), "16 bits become 8"
    assert {"step": "resize", "height": 10, "width": 12} in ds.manifest.recipe
    assert datasets.import_images(tmp_path / "mixed", "median").input_spec.shape == (20, 20, 3)


def test_a_turned_photo_stands_upright(store, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in "ab":
        (tmp_path / "turned" / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (30, 20)).save(tmp_path / "turned" / label / f"{index}.jpg", exif=exif)
    assert datasets.import_images(tmp_path / "turned", "turned", split=None).input_spec.shape == (30, 20, 3)


def test_a_photo_that_says_nonsense_of_how_it_was_turned_is_taken_as_it_is(store, class_folders):
    words = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02ab\0\0\0\0\0\0"  # an orientation in words
    Image.new("L", (28, 28)).save(class_folders / "3" / "odd.jpg", exif=words)
    assert len(datasets.import_images(class_folders, "digits")) == 121


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[: len(data) // 2], "damaged or truncated"),
        (lambda data: b"", "the file is empty"),
        (lambda data: b"not a picture at all", "no picture in a known format"),
        (lambda data: huge_png(), "more than the allowed 50,000,000 pixels"),
    ],
)
def test_a_damaged_picture_among_good_ones_stops_or_is_skipped(store, make_zip, class_folders, damage, reason):
    good = next(class_folders.rglob("*.png")).read_bytes()
    path = make_zip([("a/broken.png", damage(good))])
    with pytest.raises(DatasetError, match=f"1 of 7 examples in pictures.zip cannot be used: a/broken.png: .*{reason}"):
        datasets.import_images(path, "pictures")
    assert not store.exists()
    ds = datasets.import_images(path, "pictures", on_error="skip")
    assert len(ds) == 6
    assert ds.report["skipped"][0]["file"] == "a/broken.png"
    assert reason in ds.report["skipped"][0]["reason"]


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a/escape.png", "leads out of the archive"),
        ("a/../../escape.png", "leads out of the archive"),
        ("a\\..\\..\\escape.png", "leads out of the archive"),
        ("/etc/escape.png", "the path is absolute"),
        ("C:\\escape.png", "the path is absolute"),
        (link("a/link.png"), "a link or special file"),
    ],
)
def test_hostile_paths_and_links_are_refused(store, make_zip, tmp_path, name, reason):
    before = sorted(tmp_path.rglob("*"))
    path = make_zip([(name, b"/etc/passwd")])
    with pytest.raises(DatasetError, match=f"pictures.zip is refused: .*{reason}"):
        datasets.import_images(path, "pictures", on_error="skip")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_an_encrypted_member_is_refused(store, make_zip):
    path = make_zip()
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"the file is encrypted"):
        datasets.import_images(path, "pictures")


def test_zip_bombs_and_crowds_are_refused_before_anything_is_read(store, tmp_path, make_zip):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(4):
            archive.writestr(f"a/{index}.png", bytes(5_000_000))
    assert bomb.stat().st_size < 50_000
    with pytest.raises(DatasetError, match=r"unpacks to 20,000,000 bytes; the limit is 10,000,000"):
        datasets.import_images(bomb, "bomb", max_unpacked_bytes=10_000_000)
    with pytest.raises(DatasetError, match=r"has more than the allowed 5 files"):
        datasets.import_images(make_zip(), "crowd", max_members=5)


def test_a_file_far_larger_than_pictures_is_not_read(store, make_zip, monkeypatch):
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1_000_000)
    path = make_zip([("a/large.png", bytes(1_000_001))])
    with pytest.raises(DatasetError, match=r"a/large.png: its 1,000,001 bytes are more than the allowed 1,000,000"):
        datasets.import_images(path, "pictures")


@pytest.mark.parametrize("size", [28, (0, 5), (10.5, 5), "64"])
def test_a_size_that_is_none_is_refused(store, make_zip, size):
    with pytest.raises(DatasetError, match=r"Give \(height, width\) in pixels"):
        datasets.import_images(make_zip(), "pictures", size=size)


def test_a_bomb_that_lies_about_its_size_is_read_no_further_than_it_says(store, tmp_path):
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(5_000_000))
    data = path.read_bytes().replace(struct.pack("<I", 5_000_000), struct.pack("<I", 100))
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"a/0.png: it cannot be read"):
        datasets.import_images(path, "liar")


@pytest.mark.parametrize("keep", [0, 30, -40])
def test_a_cut_zip_is_named(store, make_zip, keep):
    path = make_zip()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"pictures.zip is no whole zip file"):
        datasets.import_images(path, "pictures")


def test_what_is_no_picture_or_lies_in_no_class_is_reported(store, make_zip, png):
    path = make_zip([("a/readme.txt", b"hello"), ("top.png", png()), ("__MACOSX/a/0.png", b"x"), ("a/.DS_Store", b"x")])
    report = datasets.import_images(path, "pictures").report
    assert report["ignored"] == [
        {"file": "a/readme.txt", "reason": "not a picture by its name"},
        {"file": "top.png", "reason": "lies in no class folder"},
    ]


def test_folders_without_classes_are_refused(store, tmp_path, make_zip, png):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty has no pictures in class folders"):
        datasets.import_images(tmp_path / "empty", "x")
    with pytest.raises(DatasetError, match=r"There is no file or folder"):
        datasets.import_images(tmp_path / "nowhere", "x")
    with pytest.raises(DatasetError, match=r"one class folder, 'a'"):
        datasets.import_images(make_zip(classes=("a",)), "x")
    with pytest.raises(DatasetError, match=r"Too few examples to split"):
        datasets.import_images(make_zip([("c/only.png", png())]), "x")


def test_links_to_folders_are_not_followed(store, class_folders):
    (class_folders / "11").symlink_to("/etc")
    (class_folders / "loop").symlink_to(class_folders)
    assert len(datasets.import_images(class_folders, "digits")) == 120


def test_any_picture_can_be_brought_into_the_datasets_form(digits):
    array = digits.input_spec.image_array(Image.new("RGBA", (100, 50), (0, 0, 0, 0)))
    assert array.shape == (28, 28, 1)
    assert (array == 255).all()
