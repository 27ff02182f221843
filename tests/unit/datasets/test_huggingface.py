"""To Hugging Face and back: the same features, rows and splits."""

import json

import datasets as hf
import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Array, Sequence, Struct
from armillary.errors import DatasetError
from PIL import Image
from support.full_disk import file_size_limit
from support.real_data import STAMPS


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "hf-cache"
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", folder)
    return folder


@pytest.fixture
def birds(store):
    parts = {"image": ".png", "caption": ".txt", "speech": "_desc_fr.ogg"}
    return datasets.import_files(
        STAMPS / "animals/birds", "birds", parts, select="^[ab]", text_from=lambda text: text.split("\n")[0]
    )


def undecoded(part):
    return part.with_format("arrow")[:].to_pylist()


def test_image_caption_and_speech_go_there_and_back(birds):
    there = datasets.to_huggingface(birds)
    assert there["train"].features == hf.Features(
        {"image": hf.Image(), "caption": hf.Value("string"), "speech": hf.Audio()}
    )
    assert {split: len(part) for split, part in there.items()} == birds.splits
    assert isinstance(there["train"].select_columns("image")[0]["image"], Image.Image)
    back = datasets.from_huggingface(there, "birds-again")
    assert (back.features, back.splits, back.target) == (birds.features, birds.splits, None)
    for split in birds.splits:
        assert [dict(row) for row in birds.iterate(split)] == [dict(row) for row in back.iterate(split)]
    assert str(datasets.diff(birds, back)).endswith("0 added, 0 removed, 0 relabelled, 0 in other splits")


def test_what_came_from_hugging_face_goes_back_unchanged(store):
    features = hf.Features(
        {
            "words": hf.List(hf.Value("string")),
            "tags": hf.List(hf.ClassLabel(names=["O", "PER"])),
            "pair": hf.Translation(languages=["en", "zh"]),
            "some": hf.TranslationVariableLanguages(languages=["en", "zh"]),
            "matrix": hf.Array2D(shape=(2, 2), dtype="float32"),
            "parts": {"a": hf.Value("int8"), "b": hf.List(hf.Value("float64"), length=2)},
            "four": hf.List(hf.Value("int32"), length=4),
            "when": hf.Value("timestamp[us, tz=UTC]"),
            "view": hf.Value("string_view"),
            "raw": hf.Value("binary_view"),
            "label": hf.ClassLabel(names=["no", "yes"]),
        }
    )
    rows = [
        {
            "words": ["Ada", f"saw {number}"],
            "tags": [1, 0],
            "pair": {"en": "bird", "zh": "鸟"},
            "some": {"en": ["a", "b"], "zh": "鸟"},
            "matrix": np.full((2, 2), number),
            "parts": {"a": number, "b": [0.5, None]},
            "four": [1, 2, 3, 4] if number % 3 else None,
            "when": None,
            "view": f"view {number}",
            "raw": b"\xff" if number % 2 else None,
            "label": number % 2,
        }
        for number in range(30)
    ]
    theirs = hf.DatasetDict(
        {"train": hf.Dataset.from_list(rows, features), "unsupervised": hf.Dataset.from_list(rows[:3], features)}
    )
    ours = datasets.from_huggingface(theirs, "mixed")
    assert (ours.target, ours.splits) == ("label", {"train": 30, "unsupervised": 3})
    assert ours.class_counts["train"].tolist() == [15, 15]
    again = datasets.to_huggingface(ours)
    assert list(again) == list(theirs)
    for split in theirs:
        assert again[split].features == theirs[split].features
        assert undecoded(again[split]) == undecoded(theirs[split])


def test_splits_whose_classes_differ_are_refused(store):
    train = hf.Dataset.from_dict({"text": ["1", "2", "3"], "label": ["ant", "bee", "cat"]})
    test = hf.Dataset.from_dict({"text": ["4", "5"], "label": ["bee", "cat"]})
    theirs = hf.DatasetDict({"train": train, "test": test})
    with pytest.raises(DatasetError, match=r"Column 'label' is another in train than in test"):
        datasets.from_huggingface(theirs.class_encode_column("label"), "insects")
    same = theirs.cast_column("label", hf.ClassLabel(names=["ant", "bee", "cat"]))
    ours = datasets.from_huggingface(same, "insects")
    assert [row["label"] for row in ours.iterate("test")] == ["bee", "cat"]


@pytest.mark.parametrize("given", [hf.DatasetDict(), hf.Dataset.from_dict({"a": [1]}).to_iterable_dataset(), 5])
def test_what_is_no_dataset_with_rows_is_refused(store, given):
    with pytest.raises(DatasetError, match=rf"{type(given).__name__} is no dataset of Hugging Face's with rows"):
        datasets.from_huggingface(given, "nothing")


def test_a_full_disk_of_the_cache_is_named(birds, cache):
    said = pytest.raises(DatasetError, match=rf"{cache}/armillary/\w+ cannot be written: .*Free space")
    with said, file_size_limit(0):
        datasets.to_huggingface(birds)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_dataset_without_splits_is_divided(store):
    plain = hf.Dataset.from_dict({"text": [f"text {number}" for number in range(20)]})
    ours = datasets.from_huggingface(plain, "texts", split={"train": 0.5, "test": 0.5}, licence="CC0")
    assert (ours.splits, ours.manifest.licence, ours.kind) == ({"train": 10, "test": 10}, "CC0", "text")


def test_long_media_lie_beside_the_shards_here_and_there(store, monkeypatch, tmp_path):
    from armillary.datasets.importing import examples

    monkeypatch.setattr(examples, "LARGEST_IN_A_SHARD", 10_000)
    ours = datasets.import_files(STAMPS / "animals/birds", "birds", {"image": ".png"}, select="^[ab]", split=None)
    large = [file for file in ours.manifest.media if file.bytes > 10_000]
    assert large
    assert all((ours.folder / file.file).stat().st_size == file.bytes for file in large)
    assert all(file.file == f"media/{file.sha256}.png" for file in large)
    pictures = datasets.to_huggingface(ours)["train"]["image"]
    for theirs, mine in zip(pictures, ours.iterate(), strict=True):
        assert theirs.tobytes() == mine["image"].image().tobytes()
    back = datasets.from_huggingface(datasets.to_huggingface(ours), "birds-again")
    assert [row["image"].read() for row in back.iterate()] == [row["image"].read() for row in ours.iterate()]
    again = ours.split(0.8, 0.1, 0.1)
    assert {file.sha256 for file in again.manifest.media} == {file.sha256 for file in ours.manifest.media}
    assert len([row["image"].image() for row in again.iterate()]) == len(ours)


def test_the_files_that_hugging_face_maps_are_made_once(birds, cache):
    datasets.to_huggingface(birds)
    files = {file: file.stat().st_mtime_ns for file in cache.rglob("*.arrow")}
    datasets.to_huggingface(birds)
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.arrow")} == files
    assert len(files) == len(birds.splits)


def test_a_name_is_loaded_by_hugging_faces_own_code(store, class_folders):
    ours = datasets.from_huggingface(str(class_folders), "digits")
    assert ours.class_names == tuple("0123456789")
    assert (len(ours), ours.kind, ours.manifest.source) == (120, "image", str(class_folders))


def test_what_cannot_be_loaded_or_is_unknown_is_named(store, monkeypatch, tmp_path):
    monkeypatch.setattr(hf.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match=r"'nobody/nothing' cannot be loaded from Hugging Face"):
        datasets.from_huggingface("nobody/nothing", "x")
    unknown = hf.Dataset.from_dict({"file": [None]}, features=hf.Features({"file": hf.Pdf()}))
    with pytest.raises(DatasetError, match=r"unknown feature 'Pdf'"):
        datasets.from_huggingface(unknown, "x")
    gone = hf.Dataset.from_dict(
        {"image": [str(tmp_path / "gone.png")] * 4}, features=hf.Features({"image": hf.Image()})
    )
    with pytest.raises(DatasetError, match=r"row 1: .*gone.png cannot be read"):
        datasets.from_huggingface(gone, "x")
    assert not [path for path in store.rglob("*") if path.name != ".saving"]


def test_hugging_face_reads_our_shards_by_itself(birds, cache):
    files = [str(birds.folder / file.file) for file in birds.manifest.shards]
    loaded = hf.load_dataset("parquet", data_files=files, split="train", cache_dir=str(cache))
    assert loaded.features == datasets.to_huggingface(birds)["train"].features
    assert len(loaded) == len(birds)
    assert json.loads((birds.folder / "manifest.json").read_text())["features"]["speech"] == {"_type": "Audio"}


def test_a_repository_by_its_name_in_parts(store, cache, tmp_path):
    """A folder laid out as on their hub: a card that declares configurations, and data files."""
    repository = tmp_path / "reviews"
    repository.mkdir()
    declared = "configs:\n- config_name: {0}\n  data_files:\n  - {{split: train, path: {0}.jsonl}}\n"
    card = "---\nlicense: cc0-1.0\n" + declared.format("short") + declared.format("long").replace("configs:\n", "")
    (repository / "README.md").write_text(card + "---\n# Reviews\n")
    for config, words in (("short", 2), ("long", 20)):
        lines = [json.dumps({"text": f"{number} " * words, "stars": number % 5}) for number in range(30)]
        (repository / f"{config}.jsonl").write_text("\n".join(lines))
    ours = datasets.import_huggingface(
        str(repository), "reviews", config="long", parts={"train": "train[:20]", "test": "train[20:]"}
    )
    assert (ours.splits, ours.manifest.source) == ({"train": 20, "test": 10}, str(repository))
    assert [row["text"] for row in ours.iterate("test")] == [f"{number} " * 20 for number in range(20, 30)]
    whole = datasets.import_huggingface(str(repository), "whole", config="short", parts=["train"])
    assert whole.splits == {"train": 30}
    for wrong, said in (
        ({"parts": ["dev"], "config": "long"}, r"cannot be loaded from Hugging Face: .*dev"),
        ({"parts": [], "config": "long"}, r"The parts are \[\]"),
        ({"config": "medium"}, r"cannot be loaded from Hugging Face: .*medium.*short.*long"),
    ):
        with pytest.raises(DatasetError, match=said):
            datasets.import_huggingface(str(repository), "other", **wrong)


def test_the_source_names_the_commit_that_was_loaded(monkeypatch):
    from armillary.datasets.importing.huggingface_hub import _commit

    commit = "0123456789abcdef0123456789abcdef01234567"
    files = {f"hf://datasets/nobody/birds@{commit}/data/train.parquet": {"num_bytes": 1, "checksum": None}}
    assert _commit(hf.DatasetInfo(download_checksums=files)) == commit
    assert _commit(hf.DatasetInfo()) is None


def test_long_media_in_lists_and_parts_are_found_there_too(store, monkeypatch, png):
    from armillary.datasets.importing import examples

    monkeypatch.setattr(examples, "LARGEST_IN_A_SHARD", 10)
    features = {"pages": Sequence(datasets.Image()), "book": Struct((("cover", datasets.Image()),))}
    rows = [{"pages": [png(color=1), None, png(color=2)], "book": {"cover": png(color=3)}}]
    ours = datasets.import_examples(rows, features, "books", split=None)
    assert len(ours.manifest.media) == 3
    theirs = datasets.to_huggingface(ours)
    assert [page and page.getpixel((0, 0)) for page in theirs["train"][0]["pages"]] == [1, None, 2]
    assert theirs["train"][0]["book"]["cover"].getpixel((0, 0)) == 3
    assert datasets.from_huggingface(theirs, "again").manifest.content == ours.manifest.content


def test_empty_splits_empty_arrays_and_missing_labels_of_words_come_back(store):
    features = {"points": Array((None, 3), "float32")}
    rows = [{"points": np.zeros((0, 3))}, {"points": np.ones((2, 3))}]
    ours = datasets.import_examples(rows, features, "points", split={"train": 0.8, "validation": 0.1, "test": 0.1})
    assert 0 in ours.splits.values()
    back = datasets.from_huggingface(datasets.to_huggingface(ours), "again")
    assert (back.splits, back.manifest.content) == (ours.splits, ours.manifest.content)
    form = hf.Features({"words": hf.List(hf.Value("string")), "tags": hf.List(hf.ClassLabel(names=["O", "PER"]))})
    theirs = hf.Dataset.from_dict({"words": [["Ada", "sings"]], "tags": [[1, -1]]}, features=form)
    assert datasets.from_huggingface(theirs, "tags", split=None).take([0])[0]["tags"] == ["PER", None]
