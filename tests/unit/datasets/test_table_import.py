"""Tables with bad rows, of every format: each row is told by its place in the file."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Sequence, Value
from armillary.datasets.importing import table_files
from armillary.errors import DatasetError

GOOD = [f"{number},{'ab'[number % 2]}" for number in range(30)]


def csv_with(tmp_path, *lines, name="t.csv", head="size,kind"):
    path = tmp_path / name
    rows = [head, *GOOD[:15], *lines, *GOOD[15:]]
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else row.encode() for row in rows) + b"\n")
    return path


BAD = [
    ("1", "1 values for 2 columns", b"1\n"),
    ("1,a,2", "3 values for 2 columns", b"1,a,2\n"),
    ("huge,a", "'huge' in column 'size', whose other values are numbers", b'{"size": "huge", "kind": "a"}'),
    ("1,", "no value for 'kind'", b'{"size": "1", "kind": null}'),
    (b"1,\xd1\xd5", "it is not encoded in utf-8-sig", b"1,\xd1\xd5\n"),
    ("1,a\0b", "there is a NUL byte in it", b"1,a\0b\n"),
    ('1,"a"b', "it cannot be divided into columns", b'1,"a"b\n'),
    (
        f"1,{'x' * 3000}",
        r"it cannot be divided into columns \(field larger than field limit",
        b"1," + b"x" * 3000 + b"\n",
    ),
]


@pytest.mark.parametrize(("row", "reason", "data"), BAD)
def test_a_bad_row_stops_is_skipped_or_set_aside(store, tmp_path, monkeypatch, row, reason, data):
    monkeypatch.setattr(table_files, "MAX_FIELD", 2000)
    path = csv_with(tmp_path, row)
    with pytest.raises(DatasetError, match=rf"1 of 31 examples in t.csv cannot be used: line 17: {reason}"):
        datasets.import_table(path, "table", "kind")
    assert datasets.list() == []
    ds = datasets.import_table(path, "table", "kind", on_error="skip")
    assert (len(ds), ds.skipped["place"].tolist(), ds.report["skipped_examples"]) == (30, ["line 17"], 1)
    kept = datasets.import_table(path, "kept", "kind", on_error="set_aside").skipped
    assert kept.loc[0, "data"] == data


def test_every_bad_row_is_reported_and_many_are_counted(store, tmp_path):
    path = csv_with(tmp_path, *["1"] * 500)
    with pytest.raises(DatasetError, match=r"500 of 530 examples .*line 17: .*line 26: .*and 490 more"):
        datasets.import_table(path, "table", "kind")
    ds = datasets.import_table(path, "table", "kind", on_error="skip")
    assert (len(ds.skipped), len(ds.report["skipped"])) == (500, 100)
    path = csv_with(tmp_path, *["1"] * 5000)
    with pytest.raises(DatasetError, match=r"At least 1000 examples in t.csv cannot be used"):
        datasets.import_table(path, "table", "kind")


def test_a_table_without_a_class_is_a_dataset_too(store, tmp_path):
    ds = datasets.import_table(csv_with(tmp_path), "table", licence="CC0")
    assert (ds.target, ds.class_names, ds.kind, len(ds)) == (None, (), "table", 30)
    assert ds.features == {"size": Value("int64"), "kind": ClassLabel(("a", "b"))}
    assert ds.splits == {"train": 24, "validation": 3, "test": 3}
    with pytest.raises(DatasetError, match=r"table@1 \(table\) has no form that models take"):
        _ = ds.input_spec
    with pytest.raises(DatasetError, match=r"table@1 has no column with the class"):
        ds.labels()
    assert datasets.import_table(csv_with(tmp_path), "text", text=["size"]).features["size"] == Value("string")


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "json", "parquet", "arrow", "feather"])
def test_one_table_is_the_same_in_every_format(store, tmp_path, suffix):
    frame = pd.DataFrame({"size": [0.5 * row for row in range(20)], "name": [f"名 {row}" for row in range(20)]})
    frame["kind"] = ["a", "b"] * 10
    path = tmp_path / f"t.{suffix}"
    if suffix.startswith("csv"):
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False)
    elif suffix == "json":
        frame.to_json(path, orient="records", force_ascii=False)
    elif suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "feather":
        frame.to_feather(path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.Table.from_pandas(frame).schema) as out:
            out.write_table(pa.Table.from_pandas(frame))
    ds = datasets.import_table(path, "table", "kind")
    found = ds.to_pandas()
    assert found["size"].tolist() == frame["size"].tolist()
    assert found["name"].tolist() == frame["name"].tolist()
    assert found["kind"].tolist() == frame["kind"].tolist()


def test_lists_in_a_table_stay_lists(store, tmp_path):
    rows = [{"words": ["a", f"b{row}"], "kind": "xy"[row % 2]} for row in range(10)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ds = datasets.import_table(tmp_path / "t.jsonl", "table", "kind")
    assert ds.features["words"] == Sequence(Value("string"))
    assert [row["words"] for row in ds.iterate()] == [row["words"] for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"a": 1}\nnot json\n', "line 2: it is no JSON"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2: it is no object with columns"),
        ("t.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2: it is not encoded in utf-8-sig"),
        ("t.json", b'[{"a": 1}, 2]', "row 2: it is no object with columns"),
        ("t.json", b'{"a": 1}', "it is no list of objects"),
        ("t.json", b'[{"a": 1}', "cannot be read as a table"),
        ("t.json", b"[" * 100_000, "cannot be read as a table"),
        ("t.parquet", b"PAR1 not at all", "cannot be read as a table"),
        ("t.arrow", b"not at all", "cannot be read as a table"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:-30], "cannot be read as a table"),
        ("t.csv", b"", "cannot be read as a table: it is empty"),
    ],
)
def test_a_damaged_table_is_named(store, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        datasets.import_table(tmp_path / name, "table")
    assert not store.exists()


def test_a_word_among_numbers_of_a_json_file_is_named(store, tmp_path):
    rows = [{"size": row, "kind": "ab"[row % 2]} for row in range(30)] + [{"size": "huge", "kind": "a"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DatasetError, match=r"line 31: 'huge' in column 'size', whose other values are numbers"):
        datasets.import_table(tmp_path / "t.jsonl", "table", "kind")
    ds = datasets.import_table(tmp_path / "t.jsonl", "table", "kind", on_error="skip")
    assert ds.features["size"] == Value("int64")


def test_utf_16_is_known_by_its_mark(store, tmp_path):
    (tmp_path / "t.csv").write_bytes("\n".join(["大小,kind", *GOOD]).encode("utf-16"))
    assert list(datasets.import_table(tmp_path / "t.csv", "table", "kind").features) == ["大小", "kind"]


def test_columns_that_a_parquet_file_declares_keep_their_types(store, tmp_path):
    when = pa.array(np.arange(20), pa.timestamp("ms"))
    table = pa.table({"when": when, "parts": [{"x": row} for row in range(20)], "kind": ["a", "b"] * 10})
    pq.write_table(table, tmp_path / "t.parquet")
    ds = datasets.import_table(tmp_path / "t.parquet", "table", "kind")
    assert ds.features["when"] == Value("timestamp[ms]")
    assert [row["parts"]["x"] for row in ds.iterate()] == list(range(20))
