"""Parquet and Arrow files with the features that they declare."""

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import Boxes, ClassLabel, Image, Sequence, Struct, Value
from armillary.datasets.schemas import arrow_schema
from armillary.errors import DatasetError

FEATURES = {"image": Image(), "objects": Boxes(("cat", "dog")), "label": ClassLabel(("no", "yes"))}


@pytest.fixture
def table(png):
    rows = [
        {
            "image": {"bytes": png(color=number), "path": f"{number}.png"},
            "objects": {"bbox": [[0.0, 0.0, 1.0, 2.0]], "category": [number % 2]},
            "label": number % 2,
        }
        for number in range(20)
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(FEATURES))


def write(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".feather":
        feather.write_feather(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    return path


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
def test_a_file_keeps_the_features_that_it_declares(store, tmp_path, table, suffix):
    ds = datasets.import_arrow(write(table, tmp_path / f"t.{suffix}"), "boxes", target="label")
    assert ds.features == FEATURES
    found = [row["image"].read() for row in ds.iterate()]
    assert found == [row["image"]["bytes"] for row in table.to_pylist()]
    assert [row["label"] for row in ds.iterate()] == ["no", "yes"] * 10


def test_a_folder_of_files_and_a_version_of_our_own_are_read(store, tmp_path, table):
    for number in range(3):
        write(table, tmp_path / f"part-{number}.parquet")
    ds = datasets.import_arrow(tmp_path, "boxes", split=None)
    assert len(ds) == 60
    again = datasets.import_arrow(ds.folder / "shard-00000.parquet", "again", split=None)
    assert again.manifest.shards == ds.manifest.shards


def test_types_alone_tell_features_too(store, tmp_path):
    table = pa.table({"words": [["a"], ["b", "c"], []], "part": [{"x": 1}] * 3, "kind": pa.array(["a", "b", "a"])})
    table = table.set_column(2, "kind", table["kind"].dictionary_encode())
    ds = datasets.import_arrow(write(table, tmp_path / "t.arrow"), "plain")
    expected = {"words": Sequence(Value("string")), "part": Struct((("x", Value("int64")),)), "kind": Value("string")}
    assert ds.features == expected


def test_what_is_damaged_or_differs_is_named(store, tmp_path, table, png):
    path = write(table, tmp_path / "t.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"t.parquet cannot be read"):
        datasets.import_arrow(path, "boxes")
    (tmp_path / "t.arrow").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"t.arrow cannot be read"):
        datasets.import_arrow(tmp_path / "t.arrow", "boxes")
    with pytest.raises(DatasetError, match=r"is no Parquet or Arrow file, nor a folder of them"):
        datasets.import_arrow(tmp_path / "t.csv", "boxes")
    odd = pa.table({"x": pa.array([None], pa.map_(pa.string(), pa.int8()))})
    with pytest.raises(DatasetError, match=r"odd.parquet cannot be read: x: "):
        datasets.import_arrow(write(odd, tmp_path / "odd.parquet"), "boxes")
    folder = tmp_path / "two"
    folder.mkdir()
    write(table, folder / "a.parquet")
    write(table.select(["label"]), folder / "b.parquet")
    with pytest.raises(DatasetError, match=r"b.parquet has other columns than a.parquet"):
        datasets.import_arrow(folder, "boxes")
    bad = table.to_pylist()
    bad[3]["image"]["bytes"] = png()[:20]
    spoilt = pa.Table.from_pylist(bad, schema=table.schema)
    with pytest.raises(DatasetError, match=r"1 of 20 examples in t.arrow .*: t.arrow, row 4: 'image': it is"):
        datasets.import_arrow(write(spoilt, tmp_path / "t.arrow"), "boxes")
    assert datasets.list() == []


def test_damage_in_the_middle_of_a_file_is_named_and_saves_nothing(store, tmp_path):
    table = pa.table({"text": [f"text {number} " * 50 for number in range(3000)]})
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd", row_group_size=500)
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(DatasetError, match=r"t.parquet cannot be read"):
        datasets.import_arrow(tmp_path / "t.parquet", "texts")
    assert datasets.list() == []
    assert list((store / ".saving").iterdir()) == []


def test_what_a_folder_has_besides_is_left_out_and_files_within_are_reported(store, tmp_path):
    (tmp_path / "files" / "year=1").mkdir(parents=True)
    for place in ("a.parquet", "year=1/b.parquet"):
        pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "files" / place)
    (tmp_path / "files" / "._a.parquet").write_bytes(b"a file of macOS")
    ds = datasets.import_arrow(tmp_path / "files", "texts", split=None)
    assert len(ds) == 2
    assert ds.report["ignored"] == [{"file": "year=1/b.parquet", "reason": "lies in a folder within"}]


def test_two_columns_of_one_name_are_refused(store, tmp_path):
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=r"Two columns are called 'a'"):
        datasets.import_arrow(tmp_path / "t.parquet", "twice")
