"""Tables with bad rows, of every format: each row is told by its place in the file."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Sequence, Struct, Value
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
    assert datasets.import_table(csv_with(tmp_path), "text", text="size").features["size"] == Value("string")


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
        ("t.json", b"", "cannot be read as a table: it is empty"),
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


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_an_index_of_pandas_neither_repeats_rows_nor_is_lost(store, tmp_path, suffix):
    """Rows were told apart by the index, which need not be unique: 30 rows became 450, or a good one was left out."""
    frame = pd.DataFrame({"size": range(30), "kind": ["a", "b"] * 15}, index=pd.Index([*range(15)] * 2, name="group"))
    write = frame.to_parquet if suffix == "parquet" else frame.reset_index().to_feather
    write(tmp_path / f"t.{suffix}")
    found = datasets.import_table(tmp_path / f"t.{suffix}", "table").to_pandas()
    assert found.sort_index(axis=1).drop(columns="split", errors="ignore").to_dict("list") == {
        "group": [*range(15)] * 2,
        "kind": ["a", "b"] * 15,
        "size": [*range(30)],
    }
    frame = frame.rename_axis(None)
    frame.loc[3, "kind"] = None
    frame.to_parquet(tmp_path / "nameless.parquet")
    ds = datasets.import_table(tmp_path / "nameless.parquet", "nameless", "kind", on_error="skip")
    assert (list(ds.features), ds.skipped["place"].tolist(), len(ds)) == (["size", "kind"], ["row 4", "row 19"], 28)


def test_bytes_in_a_parquet_file_are_not_made_text(store, tmp_path, png):
    pq.write_table(pa.table({"image": [png()], "kind": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=r"Column 'image' of t.parquet holds bytes. Import .* import_arrow"):
        datasets.import_table(tmp_path / "t.parquet", "table")


def misread_table(rows=4):
    """Texts of which the second is in Latin-1, as Arrow reads them without looking."""
    texts = [b"one", b"caf\xe9", *[b"more"] * (rows - 2)]
    column = pa.array(texts, pa.binary())
    text = pa.Array.from_buffers(pa.string(), rows, column.buffers())
    return pa.table({"text": text, "size": range(rows)})


@pytest.mark.parametrize("importer", [datasets.import_table, datasets.import_arrow])
def test_a_text_that_is_no_utf_8_is_named_in_parquet_too(store, tmp_path, importer):
    pq.write_table(misread_table(), tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=r"1 of 4 examples .*row 2: 'text': it is not encoded in UTF-8"):
        importer(tmp_path / "t.parquet", "table")
    ds = importer(tmp_path / "t.parquet", "table", on_error="skip")
    assert [row["size"] for row in ds.iterate()] == [0, 2, 3]


@pytest.mark.parametrize(
    ("text", "reason"), [("a\\u0000b", "there is a NUL byte in it"), ("\\ud800", "there is half a character in it")]
)
def test_what_a_json_text_hides_behind_an_escape_is_found(store, tmp_path, text, reason):
    lines = ['{"a": "good"}', f'{{"a": ["{text}"]}}', f'{{"{text}": 1}}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    (tmp_path / "t.json").write_text(f"[{','.join(lines)}]")
    for file in ("t.jsonl", "t.json"):
        with pytest.raises(DatasetError, match=rf"2 of 3 .*(line|row) 2: {reason}; (line|row) 3: {reason}"):
            datasets.import_table(tmp_path / file, "table")


def test_whole_numbers_of_a_json_file_keep_their_digits_where_some_are_missing(store, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"id": 9007199254740993}\n{"id": null}\n')
    assert [row["id"] for row in datasets.import_table(tmp_path / "t.jsonl", "table").iterate()] == [2**53 + 1, None]


def test_values_of_several_kinds_are_refused_by_their_column(store, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": [1, 2]}\n{"a": "x"}\n')
    with pytest.raises(DatasetError, match=r"The values of column 'a' are not all of one kind"):
        datasets.import_table(tmp_path / "t.jsonl", "table")


@pytest.mark.parametrize("nested", [{}, [{}], {"b": {}}])
def test_objects_without_parts_are_refused_by_their_column(store, tmp_path, nested):
    (tmp_path / "t.json").write_text(json.dumps([{"a": nested, "n": row} for row in range(20)]))
    with pytest.raises(DatasetError, match=r"Column 'a' holds objects without parts, such as \{\}"):
        datasets.import_table(tmp_path / "t.json", "table")
    features = {"a": Struct(()), "n": Value("int64")}
    with pytest.raises(DatasetError, match=r"Column 'a' holds objects without parts"):
        datasets.import_examples([{"a": {}, "n": 1}], features, "examples")
    assert datasets.list() == []


def test_rows_without_columns_are_no_table(store, tmp_path):
    (tmp_path / "t.jsonl").write_text("{}\n{}\n")
    with pytest.raises(DatasetError, match=r"t.jsonl has no rows"):
        datasets.import_table(tmp_path / "t.jsonl", "table")
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DatasetError, match=r"has no column 'b'; columns: 'a'\. "):
        datasets.import_table(tmp_path / "t.jsonl", "table", "b")


def test_a_line_far_too_long_is_left_out_without_being_held(store, tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "MAX_LINE", 2000)
    path = csv_with(tmp_path, "1," + "x" * 7000)
    with pytest.raises(DatasetError, match=r"1 of 31 .*line 17: .*more than the allowed 2,000 characters"):
        datasets.import_table(path, "table", "kind")
    ds = datasets.import_table(path, "table", "kind", on_error="skip")
    assert (len(ds), ds.to_pandas()["size"].tolist()) == (30, [*range(30)])
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": "' + "x" * 7000 + '"}\n{"a": 3}\n')
    ds = datasets.import_table(tmp_path / "t.jsonl", "lines", on_error="skip")
    assert (ds.to_pandas()["a"].tolist(), ds.skipped["place"].tolist()) == ([1, 3], ["line 2"])


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz", "t.json.gz"])
def test_a_table_that_unpacks_to_far_too_much_is_refused(store, tmp_path, monkeypatch, name):
    monkeypatch.setattr(table_files, "MAX_UNPACKED_BYTES", 10_000)
    content = {"t.csv.gz": "a\n" + "1\n" * 9999, "t.jsonl.gz": '{"a": 1}\n' * 9999, "t.json.gz": "[" + "1," * 9999}
    (tmp_path / name).write_bytes(gzip.compress(content[name].encode()))
    with pytest.raises(DatasetError, match=r"unpacks to .* bytes; the limit is 10,000"):
        datasets.import_table(tmp_path / name, "bomb", on_error="skip")


def test_all_lines_that_an_open_quote_takes_with_it_are_named(store, tmp_path):
    ds = datasets.import_table(csv_with(tmp_path, '1,"a'), "table", on_error="skip")
    assert (len(ds), ds.skipped["place"].tolist()) == (15, ["lines 17 to 32"])


def test_a_comma_in_a_columns_name_does_not_divide_columns_by_tabs(store, tmp_path):
    (tmp_path / "t.tsv").write_text("price, EUR\tkind\n1,5\ta\n2,5\tb\n")
    assert list(datasets.import_table(tmp_path / "t.tsv", "table").features) == ["price, EUR", "kind"]


def test_numbers_keep_the_zeros_that_they_begin_with(store, tmp_path):
    rows = [f"{number:05d},{number},0.{number},-0{number}\n" for number in range(1, 41)]
    (tmp_path / "t.csv").write_text("postcode,size,share,code\n" + "".join(rows))
    ds = datasets.import_table(tmp_path / "t.csv", "table")
    assert {name: feature.dtype for name, feature in ds.features.items()} == {
        "postcode": "string",
        "size": "int64",
        "share": "float64",
        "code": "string",
    }
    assert ds.to_pandas()["postcode"][0] == "00001"


def test_classes_keep_the_zeros_that_they_begin_with(store, tmp_path):
    ds = datasets.import_table(csv_with(tmp_path, *["1,07", "2,08"] * 15, head="size,kind"), "table", "kind")
    assert {"07", "08"} < set(ds.class_names)
    (tmp_path / "t.csv").write_text("size,kind\n" + "1,01\n2,02\n" * 10)
    assert datasets.import_table(tmp_path / "t.csv", "padded", "kind").class_names == ("01", "02")


def parts_in(folder, parts):
    for name, text in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def rows_of(kind, numbers):
    return "size,kind\n" + "".join(f"{number},{kind}\n" for number in numbers)


@pytest.mark.parametrize("packed", [False, True])
def test_several_files_are_one_table(store, tmp_path, packed):
    parts = {"b.csv": rows_of("b", range(20)), "in/a.csv": rows_of("a", range(20, 40)), "notes.txt": "no, table"}
    place = parts_in(tmp_path / "parts", {**parts, "c.jsonl": '{"size": 40, "kind": "a"}\n'})
    if packed:
        place = shutil.make_archive(str(tmp_path / "parts"), "zip", place)
    ds = datasets.import_table(place, "table", "kind")
    assert sorted(ds.to_pandas()["size"]) == list(range(41))
    assert ds.class_counts.sum(axis=1).tolist() == [21, 20]
    found = datasets.preview(place)
    assert [way.kind for way in found.ways if way.kind == "table"] == ["table"]
    assert datasets.import_as(found.ways[-1].told(target="kind"), Path(place), "again").class_names == ("a", "b")


def test_files_that_are_named_for_splits_divide_a_table(store, tmp_path):
    bad = "?,a,9\n"
    parts = {"train.csv": rows_of("a", range(9)) + bad, "test.csv.gz": "", "val.csv": rows_of("b", range(5))}
    parts |= {"train/empty.csv": "size,kind\n"}
    place = parts_in(tmp_path / "parts", parts)
    (place / "test.csv.gz").write_bytes(gzip.compress(rows_of("b", range(7)).encode()))
    ds = datasets.import_table(place, "table", on_error="skip")
    assert ds.splits == {"train": 9, "validation": 5, "test": 7}
    assert list(ds.features) == ["size", "kind"]
    assert ds.skipped["place"].tolist() == ["train.csv, line 11"]
    assert ds.manifest.recipe[0]["split"] == "folders"
    assert datasets.import_table(place, "mixed", on_error="skip", split=None).splits == {"train": 21}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"a.csv": "x,y\n1,2\n", "b.csv": "x,z\n1,2\n"}, "b.csv has other columns than a.csv: 'y', 'z'"),
        ({"a.csv": "x,y\n1,2\n", "b.csv": "x,y\n1\n"}, "1 of 2 examples in parts cannot be used: b.csv, line 2: 1 v"),
        ({"a.csv": "x,y\n", "b.csv": "x,y\n"}, "parts has no rows"),
        ({"a.csv": "x,y\n1,2\n", "b.csv": ""}, "b.csv cannot be read as a table: it is empty"),
        ({"a.txt": "x,y\n1,2\n"}, "In parts there is no table"),
    ],
)
def test_several_files_that_make_no_table(store, tmp_path, parts, said):
    with pytest.raises(DatasetError) as raised:
        datasets.import_table(parts_in(tmp_path / "parts", parts), "table")
    assert said in str(raised.value)
    assert datasets.list() == []


def test_a_missing_time_is_read_as_the_mean_of_the_others(store, tmp_path):
    times = pd.to_datetime([None, *(f"2020-01-{1 + day:02}" for day in range(20))])
    pd.DataFrame({"when": times, "kind": ["a", "b"] * 10 + ["a"]}).to_parquet(tmp_path / "t.parquet")
    ds = datasets.import_table(tmp_path / "t.parquet", "t", "kind", split=None)
    mean = times[1:].mean().timestamp() * 1e6
    np.testing.assert_allclose(ds.input_spec.mean, [mean], rtol=1e-6)
    values = np.concatenate([batch.numpy() for batch, _kinds in ds.to_torch(None, shuffle=False, batch_size=7)])
    assert values[0] == 0
    assert len(np.unique(values[1:])) == 20


def test_a_number_too_large_for_models_is_refused_where_there_is_a_class(store, tmp_path):
    path = csv_with(tmp_path, "1e300,a")
    with pytest.raises(DatasetError, match=r"Column 'size' has the number 1e\+300, too large for models"):
        datasets.import_table(path, "table", "kind")
    assert datasets.list() == []
    assert datasets.import_table(path, "plain").take(15)[0]["size"] == 1e300
