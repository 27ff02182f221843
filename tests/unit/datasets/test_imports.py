"""Imports of arrays and tables, good and bad."""

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Value
from armillary.errors import DatasetError
from sklearn.datasets import load_iris, load_wine


@pytest.fixture
def iris_csv(tmp_path):
    frame = load_iris(as_frame=True).frame
    frame["species"] = load_iris().target_names[frame.pop("target")]
    path = tmp_path / "iris.csv"
    frame.to_csv(path, index=False)
    return path


def test_iris_from_csv(store, iris_csv):
    ds = datasets.import_table(iris_csv, "iris", "species")
    assert ds.class_names == ("setosa", "versicolor", "virginica")
    assert ds.splits == {"train": 120, "validation": 15, "test": 15}
    x, y = ds.arrays(None)
    np.testing.assert_allclose(x, load_iris().data, rtol=1e-6)
    np.testing.assert_array_equal(y, load_iris().target)
    prepared = ds.input_spec.prepare(ds.arrays("train")[0])
    np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(prepared.std(axis=0), 1, atol=1e-5)


def test_wine_from_parquet_and_from_arrays_agree(store, tmp_path):
    wine = load_wine(as_frame=True)
    wine.frame.to_parquet(tmp_path / "wine.parquet")
    table = datasets.import_table(tmp_path / "wine.parquet", "wine", "target")
    arrays = datasets.import_arrays(wine.data, wine.target, name="wine-arrays", class_names=wine.target_names)
    np.testing.assert_array_equal(table.arrays(None)[0], arrays.arrays(None)[0])
    assert arrays.input_spec.columns == tuple(wine.feature_names)
    assert arrays.class_names == ("class_0", "class_1", "class_2")


def test_columns_keep_their_types_and_missing_values_are_reported(store, tmp_path):
    rows = 40
    frame = pd.DataFrame(
        {
            "age": [None, *range(rows - 1)],
            "colour": ["red", "blue"] * (rows // 2),
            "note": [f"text {row}" for row in range(rows)],
            "member": [True, False] * (rows // 2),
            "kind": ["a"] * 20 + ["b"] * 20,
        }
    )
    frame.loc[5, "colour"] = None
    frame.to_csv(tmp_path / "people.csv", index=False)
    ds = datasets.import_table(tmp_path / "people.csv", "people", "kind")
    assert ds.report["missing"] == {"age": 1, "colour": 1}
    assert ds.features == {
        "age": Value("float64"),
        "colour": ClassLabel(("blue", "red")),
        "note": Value("string"),
        "member": Value("bool"),
        "kind": ClassLabel(("a", "b")),
    }
    assert ds.input_spec.columns == ("age", "colour=blue", "colour=red", "member")
    x = ds.arrays(None)[0]
    assert np.isnan(x[0, 0])
    assert x[5].tolist()[1:3] == [0, 0]
    assert np.isfinite(ds.input_spec.prepare(x)).all()
    assert ds.to_pandas()["colour"].iloc[:2].tolist() == ["red", "blue"]


def test_a_missing_target_column_names_the_columns(store, iris_csv):
    with pytest.raises(DatasetError, match=r"iris.csv has no column 'kind'; columns: 'sepal length .*'species'"):
        datasets.import_table(iris_csv, "iris", "kind")
    assert not store.exists()


def test_rows_without_a_target_stop_or_are_skipped_and_counted(store, iris_csv):
    frame = pd.read_csv(iris_csv)
    frame.loc[[3, 77], "species"] = None
    frame.to_csv(iris_csv, index=False)
    with pytest.raises(
        DatasetError, match=r"2 of 150 examples in iris.csv cannot be used: line 5: no value for 'species'; line 79"
    ):
        datasets.import_table(iris_csv, "iris", "species")
    ds = datasets.import_table(iris_csv, "iris", "species", on_error="skip")
    assert len(ds) == 148
    assert ds.skipped["place"].tolist() == ["line 5", "line 79"]


def test_continuous_targets_are_refused(store, iris_csv):
    with pytest.raises(DatasetError, match=r"'petal width .*' are continuous numbers, not classes"):
        datasets.import_table(iris_csv, "iris", "petal width (cm)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a table"),
        (b"a,b\n", "has no rows"),
        (b'a,b\n"1,2\n', r"1 of 1 examples in bad.csv cannot be used: line 2: it cannot be divided into columns"),
        ("颜色,kind\n红,1\n".encode("gb18030"), "is not encoded in utf-8-sig.* Name its encoding"),
    ],
)
def test_unreadable_tables_say_why(store, tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        datasets.import_table(path, "bad", "kind")
    assert not store.exists()


def test_a_byte_order_mark_and_another_encoding_are_understood(store, tmp_path):
    text = "颜色,kind\n" + "红,a\n蓝,b\n" * 10
    for name, encoding, option in (("bom", "utf-8-sig", {}), ("gb", "gb18030", {"encoding": "gb18030"})):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        assert "颜色=红" in datasets.import_table(tmp_path / "t.csv", name, "kind", **option).input_spec.columns


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ","), ("t.tsv", "\t"), ("t.csv", ";"), ("t.csv", "|")])
def test_columns_divided_by_commas_tabs_semicolons_and_bars(store, tmp_path, name, mark):
    lines = ["size,kind", *(f"{row},{row % 2}" for row in range(20))]
    (tmp_path / name).write_text("\n".join(lines).replace(",", mark))
    assert datasets.import_table(tmp_path / name, "table", "kind").arrays("train")[0].shape == (16, 1)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("size, in m;kind\n" + "1,5;a\n12;b\n" * 10, ["size, in m", "kind"]),
        ('"size, in m\nor more";kind\n' + "15;a\n12;b\n" * 10, ["size, in m\nor more", "kind"]),
        ("said, by whom|kind\n" + "yes, no; perhaps|a\nno|b\n" * 10, ["said, by whom", "kind"]),
        ("said\tkind\n" + "one, two\ta\nthree, four\tb\n" * 10, ["said", "kind"]),
        ("said\n" + "Come, said the owl; it is late.\nNo.\n" * 10, ["said"]),
        ("a;b,kind\n" + "5,a\n7,b\n" * 10_000, ["a;b", "kind"]),  # more than is looked at
    ],
)
def test_what_divides_columns_is_what_fits_the_rows(store, tmp_path, text, columns):
    (tmp_path / "t.csv").write_text(text, newline="")
    found = datasets.import_table(tmp_path / "t.csv", "t", split=None, text=columns[:1])
    assert list(found.features) == columns
    assert len(found) == text.count("\n") - 1 - text.startswith('"')


def test_whole_numbers_beyond_64_bits_with_sign_are_kept_as_floats(store, tmp_path):
    pd.DataFrame({"id": np.arange(20, dtype=np.uint64) + 2**63, "kind": [0, 1] * 10}).to_csv(tmp_path / "t.csv")
    assert datasets.import_table(tmp_path / "t.csv", "ids", "kind").features["id"] == Value("float64")


def test_a_missing_file_is_named(store):
    with pytest.raises(DatasetError, match=r"There is no file /nowhere.csv"):
        datasets.import_table("/nowhere.csv", "x", "y")


def test_a_class_with_one_example_is_named_with_the_remedy(store, few_digits):
    x, y = few_digits
    keep = np.flatnonzero(y != 7).tolist() + np.flatnonzero(y == 7)[:1].tolist()
    with pytest.raises(
        DatasetError, match=r"class '7' \(1\) has fewer than 3.*Add examples of it, leave the class out"
    ):
        datasets.import_arrays(x[keep], y[keep], name="digits")
    assert not store.exists()
    everything = datasets.import_arrays(x[keep], y[keep], name="digits", split=None)
    assert everything.splits == {"train": 109}


def test_text_labels_floats_and_colours(store):
    x = np.random.default_rng(0).random((12, 5, 4, 3))
    ds = datasets.import_arrays(x, ["cat", "dog", "bee"] * 4, name="pets", class_names=["cat", "dog", "bee"])
    pictures, labels = ds.arrays(None)
    np.testing.assert_array_equal(pictures, np.round(x * 255).astype(np.uint8))
    assert labels.tolist() == [0, 1, 2] * 4
    assert ds.input_spec.shape == (5, 4, 3)
    assert ds.input_spec.prepare(pictures, "channels_first").shape == (12, 3, 5, 4)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((4, 8, 8)), [0, 1, 0], {}, r"y has shape \(3,\) for 4 examples"),
        (np.zeros(4), [0, 1, 0, 1], {}, r"X has shape \(4,\)"),
        (np.zeros((0, 8, 8)), [], {}, "at least one example"),
        (np.zeros((4, 0, 8)), [0, 1, 0, 1], {}, r"X has shape \(4, 0, 8\)"),
        (pd.DataFrame({"a": [*map(str, range(29)), "x"]}), [0, 1] * 15, {}, "row 30: 'x' in column 'a'"),
        (np.zeros((4, 3, 8, 8)), [0, 1, 0, 1], {}, "X has 8 channels"),
        (np.full((4, 8, 8), -1), [0, 1, 0, 1], {}, "not numbers from 0 to 255"),
        (np.full((4, 8, 8), np.nan), [0, 1, 0, 1], {}, "not numbers from 0 to 255"),
        (np.zeros((4, 8, 8)), [0, 1, np.nan, 1], {}, "1 of the labels in y have no value, the first at row 2"),
        (np.zeros((4, 8, 8)), [0, 0, 0, 0], {}, "a classifier needs two"),
        (np.zeros((4, 8, 8)), [0, 1, 2, 1], {"class_names": ["a", "b"]}, "contain 2, which is none of the 2 classes"),
        (np.zeros((4, 8, 8)), [0, 1, 0, 1], {"class_names": ["a", "a"]}, "empty or not distinct"),
        (np.zeros((4, 8, 8)), [0, 1, 0, 1], {"split": {"train": 0.5, "test": 0.2}}, "add up to 0.7"),
        (np.zeros((4, 8, 8)), [0, 1, 0, 1], {"split": {"training": 1}}, "Unknown split 'training'"),
        (np.zeros((4, 8, 8)), [0, 1, 2, 1], {"class_names": "cat"}, "class_names is 'cat'. Give the names in a list"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"columns": "ab"}, "columns is 'ab'. Give the names in a list"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"columns": ["a"]}, "1 column names were given for 2 columns"),
        (pd.DataFrame(np.zeros((4, 2)), columns=["a", "a"]), [0, 1, 0, 1], {}, "Two columns are called 'a'"),
        ([[1, 2], [3]], [0, 1], {}, "not all of one shape"),
        (np.full((4, 2), 1 + 2j), [0, 1, 0, 1], {}, "Column 'x0' holds complex numbers. Give two columns"),
        (np.zeros((8, 2)), [0, 1] * 4, {"seed": -1}, "The seed is -1"),
        (np.zeros((8, 2)), [0, 1] * 4, {"split": [0.8, 0.2]}, "no share for each of train, validation, test"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(store, x, y, options, message):
    with pytest.raises(DatasetError, match=message):
        datasets.import_arrays(x, y, name="bad", **options)
    assert not store.exists()


def test_a_frame_with_any_index_and_names_in_bytes_are_understood(store):
    frame = pd.DataFrame({"a": [*"123456"]}, index=[0, 0, 1, 1, 2, 2])
    ds = datasets.import_arrays(frame, np.array([b"x", b"y"] * 3), name="rows", split=None)
    assert ds.class_names == ("x", "y")
    assert ds.to_pandas()["a"].tolist() == [1, 2, 3, 4, 5, 6]


def test_an_unknown_split_is_named(digits):
    with pytest.raises(DatasetError, match=r"digits@1 has no split 'dev'; splits: train, validation, test"):
        digits.arrays("dev")


def test_the_input_spec_survives_json_and_refuses_other_shapes(digits):
    spec = datasets.InputSpec.from_json(digits.input_spec.to_json())
    assert spec == digits.input_spec
    assert hash(spec) == hash(digits.input_spec)
    assert spec.prepare(np.full((2, 28, 28), 255, np.uint8)).shape == (2, 28, 28, 1)
    assert spec.prepare(np.full((2, 28, 28, 1), 255, np.uint8)).max() == 1
    with pytest.raises(DatasetError, match=r"shape \(2, 32, 32\); this dataset's are \(n, 28, 28, 1\)"):
        spec.prepare(np.zeros((2, 32, 32)))
