"""Examples one by one: every feature stored and read again; values that do not fit are named by row and column."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import Array, Boxes, ClassLabel, Image, Sequence, Struct, TokenLabels, Translation, Value
from armillary.errors import DatasetError

FEATURES = {
    "text": Value("string"),
    "number": Value("int8"),
    "label": ClassLabel(("no", "yes")),
    "image": Image(),
    "words": Sequence(Value("string")),
    "tags": TokenLabels(("O", "PER")),
    "objects": Boxes(("cat", "dog")),
    "pair": Translation(("en", "zh")),
    "some": Translation(("de", "en"), variable=True),
    "matrix": Array((None, 2), "float32"),
    "part": Struct((("a", Value("float64")), ("b", Sequence(Value("int32"), 2)))),
}
GOOD = {
    "text": "鸟",
    "number": 7,
    "label": "yes",
    "words": ["Ada", "sings"],
    "tags": ["PER", "O"],
    "objects": {"bbox": [[0.0, 1.0, 2.0, 3.0]], "category": ["dog"]},
    "pair": {"en": "bird", "zh": "鸟"},
    "some": {"language": ["de", "en"], "translation": ["Vogel", "bird"]},
    "matrix": [[1.0, 2.0], [3.0, 4.0]],
    "part": {"a": 0.5, "b": [1, 2]},
}

#: With half a second.
HALF_PAST = datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC)


def save(*examples, features=FEATURES, **options):
    return datasets.import_examples(examples, features, "all", split=None, **options)


def test_every_feature_is_stored_and_read_again(store, png):
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    ds = save({**GOOD, "image": png()}, {**GOOD, "image": picture, "label": 0}, dict.fromkeys(FEATURES), target=None)
    first, second, third = ds.iterate()
    assert {name: first[name] for name in GOOD} == GOOD
    assert first["image"].read() == png()
    np.testing.assert_array_equal(np.asarray(second["image"].image()), picture)
    assert second["label"] == "no"
    assert third == dict.fromkeys(FEATURES)
    assert ds.take([2, 0]) == [third, first]
    again = datasets.import_examples(ds.iterate(), ds.features, "again", split=None)
    assert again.manifest.shards == ds.manifest.shards


BAD = [
    ("text", 5, "5 is no string"),
    ("text", "\ud800", "is no string"),
    ("number", 300, "300 is no int8"),
    ("number", "7", "'7' is no int8"),
    ("label", "maybe", "'maybe' is none of the 2 classes"),
    ("label", 2, "2 is none of the 2 classes"),
    ("label", True, "True is none of the 2 classes"),
    ("image", b"", "is no file|the file is empty"),
    ("image", b"not a picture", "it is no picture in a known format"),
    ("image", "crow.png", "'crow.png' is no file: give its bytes or its path"),
    ("words", "Ada", "'Ada' is no list"),
    ("words", [1], "1 is no string"),
    ("tags", ["O"], "1 labels for 2 tokens"),
    ("tags", ["PLACE"], "'PLACE' is none of the 2 classes"),
    ("objects", {"bbox": [[0, 1, 2, 3]], "category": []}, "not one category for each box"),
    ("objects", {"bbox": [[0, 1, 2]], "category": ["dog"]}, "3 values instead of 4"),
    ("objects", {"bbox": [[0, 1, -2, 3]], "category": ["dog"]}, "is no box"),
    ("objects", {"boxes": []}, "unknown column 'boxes'"),
    ("pair", {"en": "bird"}, "no text in 'zh'"),
    ("pair", {"en": "bird", "zh": "鸟", "fr": "oiseau"}, "unknown language 'fr'"),
    ("pair", "bird", "'bird' is no text for each language"),
    ("pair", {"en": 5, "zh": "鸟"}, "is no text for each language"),
    ("matrix", [[1, 2, 3]], r"an array \(1, 3\) instead of \(None, 2\)"),
    ("matrix", [["x", "y"]], "is no array of float32"),
    ("part", {"b": [1, 2, 3]}, "'b': 3 values instead of 2"),
    ("part", 5, "5 has no named parts"),
]


@pytest.mark.parametrize(("column", "value", "reason"), BAD)
def test_a_value_that_does_not_fit_is_named(store, column, value, reason):
    with pytest.raises(DatasetError, match=rf"1 of 2 examples .*: example 2: '{column}': .*({reason})"):
        save(GOOD, {**GOOD, column: value})
    assert len(save(GOOD, {**GOOD, column: value}, on_error="skip")) == 1


@pytest.mark.parametrize(
    ("feature", "value", "reason"),
    [
        (
            Translation(("en", "zh"), variable=True),
            {"language": ["en"], "translation": ["a", "b"]},
            "is no text for each",
        ),
        (Translation(("en", "zh"), variable=True), {"language": None, "translation": ["a"]}, "is no text for each"),
        (Array((None, 2), "uint8"), [[1, 300]], "is no array of uint8"),
        (Array((None, 2), "int32"), [[1, 1.5]], "is no array of int32"),
        (Array((None, 2), "int32"), [[1, float("nan")]], "is no array of int32"),
        (Array((None, 2), "float32"), np.full((1, 2), 1j), "is no array of float32"),
        (Value("timestamp[s]"), HALF_PAST, r"is no timestamp\[s\]"),
        (Value("timestamp[s]"), 0.5, r"is no timestamp\[s\]"),
        (Value("date32"), HALF_PAST, "is no date32"),
        (Value("time32[s]"), HALF_PAST.time(), r"is no time32\[s\]"),
        (Value("duration[s]"), timedelta(seconds=1.5), r"is no duration\[s\]"),
    ],
)
def test_a_value_is_neither_cut_to_fit_nor_ends_the_import_in_a_traceback(store, feature, value, reason):
    with pytest.raises(DatasetError, match=rf"example 1: 'x': .*{reason}"):
        datasets.import_examples([{"x": value}], {"x": feature}, "odd")


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [
        ("timestamp[us, tz=UTC]", HALF_PAST, HALF_PAST),
        ("timestamp[ns, tz=UTC]", HALF_PAST.astimezone(timezone(timedelta(hours=8))), HALF_PAST),
        ("timestamp[s, tz=UTC]", HALF_PAST.replace(microsecond=0), HALF_PAST.replace(microsecond=0)),
        ("timestamp[ns, tz=UTC]", pd.Timestamp(HALF_PAST) + pd.Timedelta(1, "ns"), pd.Timestamp(HALF_PAST)),
        ("date32", HALF_PAST.date(), HALF_PAST.date()),
        ("date64", datetime(2026, 1, 31, tzinfo=UTC), HALF_PAST.date()),
        ("time64[us]", HALF_PAST.time(), HALF_PAST.time()),
        ("duration[ms]", timedelta(seconds=1.5), timedelta(seconds=1.5)),
        ("timestamp[us]", np.datetime64("2026-01-31T12:00:00.5", "ns"), HALF_PAST.replace(tzinfo=None)),
    ],
)
def test_times_that_fit_are_stored_whole(store, dtype, value, stored):
    times = datasets.import_examples([{"x": value}], {"x": Value(dtype)}, "times", split=None)
    found = times.take([0])[0]["x"]
    assert (found.floor("us") if isinstance(found, pd.Timestamp) else found) == stored


def test_what_is_no_example_is_named_and_what_comes_from_no_file_is_set_aside_too(store):
    examples = [5, {None: 1}, {"text": 7}, {"text": "good"}]
    ds = datasets.import_examples(examples, {"text": Value("string")}, "odd", split=None, on_error="set_aside")
    assert ds.skipped["reason"].tolist() == ["5 has no named parts", "unknown column None", "'text': 7 is no string"]
    assert ds.skipped["data"].tolist() == [b"5", b"{None: 1}", b"{'text': 7}"]


def test_columns_that_no_feature_names_and_missing_classes_are_named(store):
    with pytest.raises(DatasetError, match=r"example 1: unknown column 'colour'"):
        save({**GOOD, "colour": "red"})
    with pytest.raises(DatasetError, match=r"example 1: no value for 'label'"):
        save({"text": "a"}, target="label")
    with pytest.raises(DatasetError, match=r"The target 'text' is no column with classes; these are: 'label'"):
        save(GOOD, target="text")
    with pytest.raises(DatasetError, match=r"The target 'text' is no column with classes; there is none. Name no"):
        save({"text": "a"}, features={"text": Value("string")}, target="text")
    with pytest.raises(DatasetError, match=r"There are no examples"):
        save()
    with pytest.raises(DatasetError, match=r"There are no columns"):
        save(GOOD, features={})
    with pytest.raises(DatasetError, match=r"Column 'text': 'string' is no feature"):
        save(GOOD, features={"text": "string"})


def test_what_cannot_be_used_leaves_no_large_file_behind(store, monkeypatch, png):
    from armillary.datasets.importing import examples

    monkeypatch.setattr(examples, "LARGEST_IN_A_SHARD", 10)
    ds = save({**GOOD, "image": png(color=1)}, {**GOOD, "image": png(color=2), "words": 5}, on_error="skip")
    assert [path.name for path in (ds.folder / "media").iterdir()] == [ds.manifest.media[0].file.split("/")[1]]


def test_row_groups_are_small_in_bytes_too(store, monkeypatch, png):
    import pyarrow.parquet as pq
    from armillary.datasets.importing import examples

    monkeypatch.setattr(examples, "ROW_GROUP_BYTES", 5 * len(png()))
    ds = save(*({"image": png(color=shade)} for shade in range(100)), features={"image": Image()})
    shard = pq.ParquetFile(ds.folder / ds.manifest.shards[0].file)
    assert 10 < shard.num_row_groups < 30
    assert len(list(ds.iterate())) == 100


def test_row_groups_of_long_texts_are_small_too(store, monkeypatch):
    import pyarrow.parquet as pq
    from armillary.datasets.importing import examples

    monkeypatch.setattr(examples, "ROW_GROUP_BYTES", 5000)
    ds = save(*({"text": "long " * 200} for _row in range(60)), features={"text": Value("string")})
    assert pq.ParquetFile(ds.folder / ds.manifest.shards[0].file).num_row_groups == 10


@pytest.mark.parametrize("options", [{"licence": None}, {"source": None}, {"source": Path("a.csv")}])
def test_a_licence_or_source_that_is_no_text_saves_nothing(store, options):
    with pytest.raises(DatasetError, match=r"The (licence|source) of the dataset is no text: .*Give a text"):
        save(GOOD, **options)
    assert datasets.list() == []
    assert save(GOOD).version == 1


def test_numbers_of_numpy_are_numbers(store):
    features = {"pair": Sequence(Value("int64"), np.int64(2)), "grid": Array((np.int64(1), 2), "int8")}
    rows = [{"pair": [number, 2], "grid": [[1, 2]]} for number in range(4)]
    half = np.float32(0.5)
    ds = datasets.import_examples(rows, features, "numbers", split={"train": half, "test": half}, seed=np.int64(3))
    assert ds.split(seed=np.int32(4), train=half, validation=0, test=half).splits == {"train": 2, "test": 2}
