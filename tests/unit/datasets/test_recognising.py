"""What files are taken for, by looking at them, and that each way imports what it has shown."""

import gzip
import sqlite3
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import Audio, Boxes, Image, Translation, Value
from armillary.datasets.importing.downloads import fetched
from armillary.datasets.recognising.addresses import understood
from armillary.errors import DatasetError
from support import annotated_pictures
from support.file_server import serving

PO = 'msgid ""\nmsgstr "Language: {code}\\n"\n\nmsgid "bird"\nmsgstr "{bird}"\n\nmsgid "owl"\nmsgstr "{bird} 2"\n'


def titles(path):
    return [way.title for way in datasets.preview(path).ways]


def imported(found, path, **options):
    return datasets.import_as(found.way, path, "saved", split=None, **options)


def tone(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((1000 * np.sin(np.arange(800))).astype("<i2").tobytes())


@pytest.mark.parametrize(("layout", "name"), [("voc", "Pascal VOC"), ("coco", "COCO"), ("yolo", "YOLO")])
@pytest.mark.parametrize("packed", [False, True])
def test_boxes_are_told_by_their_files(store, tmp_path, layout, name, packed):
    truth = annotated_pictures.write(tmp_path / "yard", layout)
    path = tmp_path / "yard"
    if packed:
        path = tmp_path / "yard.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "yard", "yard")
    found = datasets.preview(path)
    assert found.ways[0].title == f"pictures with boxes ({name})"
    boxes = sum(map(len, truth.values()))
    assert found.note == f"12 pictures, {boxes} boxes of 2 classes"
    assert sum(found.class_counts.values()) == boxes
    assert all(sample.png for sample in found.samples)
    saved = imported(found, path)
    assert saved.features["objects"] == Boxes(("ball", "crate"))
    assert sum(len(row["objects"]["bbox"]) for row in saved.iterate()) == boxes


def test_translations_are_told_with_their_languages(store, tmp_path):
    (tmp_path / "locale" / "zh_CN").mkdir(parents=True)
    (tmp_path / "locale" / "zh_CN" / "messages.po").write_text(PO.format(code="zh_CN", bird="鸟"))
    found = datasets.preview(tmp_path / "locale")
    assert (found.way.title, found.way.settings["languages"]) == ("translation pairs", ("en", "zh"))
    assert found.rows.to_dict("list") == {"en": ["bird", "owl"], "zh": ["鸟", "鸟 2"]}
    assert imported(found, tmp_path / "locale").features == {"translation": Translation(("en", "zh"))}
    (tmp_path / "de.po").write_text(PO.format(code="de", bird="Vogel"))
    assert datasets.preview(tmp_path / "de.po").way.settings["languages"] == ("en", "de")


@pytest.mark.parametrize(("one", "other"), [("news.en", "news.fr"), ("en.txt", "fr.txt"), ("en/a.txt", "fr/a.txt")])
def test_texts_that_differ_in_their_language_are_pairs_by_line(store, tmp_path, one, other):
    for name, text in ((one, "a bird\n\nan owl\n"), (other, "un oiseau\n\nun hibou\n")):
        (tmp_path / "news" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "news" / name).write_text(text, "utf-8")
    ways = datasets.preview(tmp_path / "news").ways
    way = next(way for way in ways if way.kind == "translations")
    found = datasets.preview(tmp_path / "news", way=way)
    assert found.way.settings["languages"] == ("en", "fr")
    pairs = [row["translation"] for row in imported(found, tmp_path / "news").iterate()]
    assert pairs == [{"en": "a bird", "fr": "un oiseau"}, {"en": "an owl", "fr": "un hibou"}]


def test_texts_of_unequal_length_are_no_pairs(store, tmp_path):
    (tmp_path / "news.en").write_text("a bird\nan owl\n")
    (tmp_path / "news.fr").write_text("un oiseau\n")
    with pytest.raises(DatasetError, match=r"news.en: it has 2 lines, but news.fr has 1"):
        datasets.import_translations(tmp_path, "news", ("en", "fr"))


def test_files_of_one_name_make_one_example_and_more_can_be_told(store, tmp_path, png):
    from armillary.datasets.import_forms.files_form import parts_of

    for name in ("crow", "owl"):
        (tmp_path / f"{name}.png").write_bytes(png())
        (tmp_path / f"{name}.txt").write_text(f"A {name}.")
        tone(tmp_path / f"{name}_spoken.wav")
    found = datasets.preview(tmp_path)
    assert found.way.title == "pictures + texts of the same name"
    assert found.rows["text"].tolist() == ["A crow.", "A owl."]
    way = found.way.told(parts=parts_of("image + .txt，_spoken.wav"))
    saved = imported(datasets.preview(tmp_path, way=way), tmp_path)
    assert saved.features == {"image": Image(), "text": Value("string"), "audio": Audio()}
    assert parts_of("image + _b.png") == {"image": "image", "image_b": "_b.png"}


def test_sounds_with_transcripts_in_a_metadata_file_of_a_dropped_folder(store, tmp_path):
    folder = tmp_path / "pack" / "speech"
    folder.mkdir(parents=True)
    for number in range(3):
        tone(folder / f"{number}.wav")
    lines = "".join(f"{number}.wav,word {number},p{number % 2}\n" for number in range(3))
    (folder / "metadata.csv").write_text("file_name,said,who\n" + lines)
    with tarfile.open(tmp_path / "speech.tar", "w") as archive:
        archive.add(folder, "speech")
    found = datasets.preview(tmp_path / "speech.tar")
    assert (found.way.title, found.columns) == ("sounds, described in a metadata file", ("said", "who"))
    saved = imported(
        datasets.preview(tmp_path / "speech.tar", way=found.way.told(label="who")), tmp_path / "speech.tar"
    )
    assert (saved.class_names, [row["said"] for row in saved.iterate()]) == (
        ("p0", "p1"),
        ["word 0", "word 1", "word 2"],
    )


def test_class_folders_come_before_pictures_without_a_class(store, class_folders):
    assert titles(class_folders) == ["pictures in class folders", "pictures"]
    found = datasets.preview(class_folders)
    assert imported(found, class_folders).class_names == tuple("0123456789")
    without = datasets.preview(class_folders, way=found.ways[1])
    assert datasets.import_as(without.way, class_folders, "bare", split=None).target is None


def test_arrays_and_idx_pairs(store, tmp_path, few_digits):
    x, y = few_digits
    np.savez(tmp_path / "digits.npz", x_train=x, y_train=y)
    found = datasets.preview(tmp_path / "digits.npz")
    assert found.way.settings == {"x": "x_train", "y": "y_train"}
    assert len(found.samples) == 60
    assert len(imported(found, tmp_path / "digits.npz")) == 120
    with zipfile.ZipFile(tmp_path / "mnist.zip", "w") as archive:
        for name, array in (("images-idx3", x), ("labels-idx1", y.astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            archive.writestr(f"mnist/t10k-{name}-ubyte.gz", gzip.compress(head + array.tobytes()))
    found = datasets.preview(tmp_path / "mnist.zip")
    assert (found.way.title, found.class_counts["3"]) == ("pictures and classes (IDX)", 12)
    saved = datasets.import_as(found.way, tmp_path / "mnist.zip", "idx", split=None, on_error="skip")
    assert (saved.arrays("train")[0].squeeze(3) == x).all()
    assert saved.manifest.source.endswith("mnist.zip")


def test_a_table_may_have_no_class_and_a_nested_one_keeps_its_columns(store, tmp_path):
    pd.DataFrame({"size": [1, 2], "tags": [["a"], ["b", "c"]]}).to_parquet(tmp_path / "nested.parquet")
    found = datasets.preview(tmp_path / "nested.parquet")
    assert [way.kind for way in found.ways] == ["columns", "table"]
    assert imported(found, tmp_path / "nested.parquet").take([1])[0]["tags"] == ["b", "c"]
    (tmp_path / "plain.csv").write_text("x,y\n1,a\n2,b\n")
    found = datasets.preview(tmp_path / "plain.csv")
    assert (found.target, found.class_counts) == ("y", {"a": 1, "b": 1})
    bare = datasets.preview(tmp_path / "plain.csv", "")
    assert datasets.import_as(bare.way, tmp_path / "plain.csv", "plain", split=None).target is None


def test_a_database_shows_its_first_table_and_what_it_is_asked_for(store, tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute('CREATE TABLE "odd ""name" (size REAL, sold TEXT)')
        shop.executemany('INSERT INTO "odd ""name" VALUES (?, ?)', [(n, "yes" if n % 2 else "no") for n in range(30)])
    shop.close()
    found = datasets.preview(tmp_path / "shop.db")
    assert (found.kind, found.columns, len(found.rows)) == ("sql", ("size", "sold"), 20)
    query = found.way.settings["query"] + " WHERE size < 10"
    asked = datasets.preview("", way=found.way.told(query=query, target="sold"))
    assert len(asked.rows) == 10
    assert imported(asked, None).class_names == ("no", "yes")
    assert understood(f"sqlite:///{tmp_path}/shop.db").kind == "sql"


def test_a_folder_of_hugging_faces_and_names_on_the_hub(store, tmp_path):
    (tmp_path / "reviews" / "data").mkdir(parents=True)
    pd.DataFrame({"text": ["good", "bad"]}).to_parquet(tmp_path / "reviews" / "data" / "train-00000-of-00001.parquet")
    found = datasets.preview(tmp_path / "reviews")
    assert "a Hugging Face dataset" in [way.title for way in found.ways]
    way = next(way for way in found.ways if way.kind == "huggingface")
    assert len(imported(datasets.preview("", way=way), None)) == 2


def test_what_is_typed_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("SALES", "postgres://ann:secret@host/sales")
    assert understood("$SALES").settings["database"] == "postgresql://ann:secret@host/sales"
    assert understood(" stanfordnlp/imdb ").settings["repository"] == "stanfordnlp/imdb"
    page = "https://huggingface.co/datasets/stanfordnlp/imdb/tree/main"
    assert understood(page).settings["repository"] == "stanfordnlp/imdb"
    assert understood("https://example.org/birds.zip") == "https://example.org/birds.zip"
    assert understood("data/birds.zip") == Path("data/birds.zip")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "birds").mkdir(parents=True)
    assert understood("data/birds") == Path("data/birds")


def test_what_was_fetched_is_looked_at_and_imported_without_asking_again(store):
    table = b"x,y\n1,a\n2,b\n3,a\n4,b\n"
    with serving({"birds.csv": table}) as server, fetched(f"{server.url}/file/birds.csv?key=s") as path:
        found = datasets.preview(path)
        saved = datasets.import_as(found.way, path, "birds", split=None)
        assert server.asked == ["/file/birds.csv?key=s"]
        assert saved.manifest.source == f"{server.url}/file/birds.csv"
    assert not path.exists()


def test_what_nothing_knows_is_said(store, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "x.bin").write_bytes(b"x")
    with pytest.raises(DatasetError, match="In odd, nothing is known to be examples"):
        datasets.preview(tmp_path / "odd")
