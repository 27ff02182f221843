"""The check of tables, on penguins with faults put in."""

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from sklearn.datasets import load_breast_cancer, load_wine
from support.real_data import inside


@pytest.fixture(scope="module")
def penguins():
    return pd.read_csv(inside("palmerpenguins", "data", "penguins.csv"))


def checked(frame, tmp_path, name="penguins"):
    frame.to_csv(tmp_path / "table.csv", index=False)
    return datasets.check(datasets.import_table(tmp_path / "table.csv", name, "species"))


def test_the_known_missing_values_and_nothing_else_is_found_in_penguins(store, tmp_path, penguins):
    report = checked(penguins, tmp_path)
    missing = {finding.column: list(finding.rows) for finding in report.findings("missing")}
    expected = {column: np.flatnonzero(penguins[column].isna()).tolist() for column in penguins}
    assert missing == {column: rows for column, rows in expected.items() if rows}
    assert sum(map(len, missing.values())) == 19
    assert {kind for kind, count in report.totals.items() if count} <= {"missing", "outlier"}
    assert len(report.findings("outlier")) <= 2


def test_wrong_species_are_found_with_the_right_one(store, tmp_path, penguins):
    random = np.random.default_rng(0)
    wrong = random.choice(len(penguins), 15, replace=False)
    species = list(penguins["species"].unique())
    mixed = penguins.copy()
    mixed.loc[wrong, "species"] = [species[(species.index(name) + 1) % 3] for name in penguins["species"][wrong]]
    found = {
        finding.rows[0]: finding.suggestions[0].value for finding in checked(mixed, tmp_path).findings("label_error")
    }
    right = found.keys() & set(wrong.tolist())
    assert len(right) >= 13
    assert len(found) - len(right) <= 1
    assert all(found[row] == penguins["species"][row] for row in right)


def test_copies_are_found_though_their_numbers_differ(store, tmp_path, penguins):
    numbered = penguins.assign(number=range(1, 345))
    copies = numbered.iloc[[20, 30, 40]].assign(number=[400, 401, 402])
    report = checked(pd.concat([numbered, copies]), tmp_path)
    found = {finding.rows for finding in report.findings("duplicate") + report.findings("leak")}
    assert found == {(20, 344), (30, 345), (40, 346)}


def test_rows_that_few_categories_make_alike_are_not_taken_for_copies(store, tmp_path, penguins):
    report = checked(penguins[["species", "island", "sex"]].dropna(), tmp_path)
    assert report.findings("leak") == []
    (finding,) = report.findings("duplicate")
    assert (len(finding.rows), finding.suggestions) == (333, ())
    assert "333 of 333 rows look like another" in finding.explanation


def test_columns_that_tell_the_class_are_found_and_honest_ones_are_not(store, tmp_path, penguins):
    telling = penguins.assign(
        latin=penguins["species"].str[:3], code=penguins["species"].map({"Adelie": 0.5, "Gentoo": 7.25, "Chinstrap": 3})
    )
    found = {finding.column for finding in checked(telling, tmp_path).findings("target_leak")}
    assert found == {"latin", "code"}
    for name, load in (("wine", load_wine), ("cancer", load_breast_cancer)):
        frame = load(as_frame=True).frame.rename(columns={"target": "species"})
        assert checked(frame, tmp_path, name).findings("target_leak") == []


def test_a_number_far_from_all_others_is_an_outlier_that_names_its_column(store, tmp_path, penguins):
    typed_wrongly = penguins.copy()
    typed_wrongly.loc[5, "body_mass_g"] = 36500
    (finding,) = [each for each in checked(typed_wrongly, tmp_path).findings("outlier") if 5 in each.rows]
    assert (finding.rows, finding.column) == ((5,), "body_mass_g")
    assert finding.explanation == "body_mass_g is 36,500; nearly all others lie between 2,700 and 6,300."


def test_rare_classes_and_those_that_a_split_lacks_are_named(store):
    labels = [0] * 60 + [1] * 60 + [2] * 3
    features = {"x": datasets.Value("float64"), "kind": datasets.ClassLabel(("many", "also", "few"))}
    rows = [{"x": float(i), "kind": label} for i, label in enumerate(labels)]
    ds = datasets.import_examples(rows, features, "few", target="kind", split={"train": 0.8, "test": 0.2})
    found = [finding.explanation for finding in datasets.check(ds).findings("imbalance")]
    assert found == ["Class “few” has 3 examples, the largest 60."]


def test_what_is_of_no_use_to_a_model_does_no_harm(store):
    features = {
        "empty": datasets.Value("float32"),
        "same": datasets.Value("int32"),
        "when": datasets.Value("timestamp[s]"),
        "yes": datasets.Value("bool"),
        "infinite": datasets.Value("float64"),
        "list": datasets.Sequence(datasets.Value("int64")),
        "grid": datasets.Array((2, 2), "float32"),
        "place": datasets.Struct((("x", datasets.Value("float64")), ("name", datasets.Value("string")))),
        "kind": datasets.ClassLabel(("a", "b")),
    }
    rows = [
        {
            "empty": None,
            "same": 1,
            "when": pd.Timestamp(i, unit="s"),
            "yes": i % 2 == 0,
            "infinite": np.inf if i == 3 else float(i),
            "list": list(range(i % 4)),
            "grid": [[i, 1], [2, i]],
            "place": {"x": None, "name": f"p{i}"} if i % 3 else {"x": 1.5, "name": ""},
            "kind": i % 2,
        }
        for i in range(60)
    ]
    report = datasets.check(datasets.import_examples(rows, features, "odd", target="kind"))
    assert {finding.column for finding in report.findings("missing")} == {"empty", "place.x", "place.name"}
    assert {finding.column for finding in report.findings("target_leak")} == {"yes"}
    assert report.findings("duplicate") == report.findings("leak") == []
    assert report._repr_html_()


def test_long_whole_numbers_are_told_apart(store):
    """As floats, numbers that differ in their last digits are the same."""
    rows = [{"id": 10**18 + row, "size": row // 2, "kind": "ab"[row % 2]} for row in range(40)]
    features = {"id": datasets.Value("int64"), "size": datasets.Value("int64"), "kind": datasets.ClassLabel(("a", "b"))}
    ds = datasets.import_examples(rows, features, "ids", split=None)
    assert {finding.rows for finding in datasets.check(ds, kinds=["duplicate"]).findings()} == set()
    ds = datasets.import_examples([{"id": row["id"]} for row in rows] * 2, {"id": features["id"]}, "twice", split=None)
    assert [f.rows for f in datasets.check(ds, kinds=["duplicate"]).findings()] == [
        (row, row + 40) for row in range(40)
    ]


def test_arrays_with_infinite_numbers_are_checked_like_others(store):
    random = np.random.default_rng(0)
    rows = [{"grid": (random.normal(size=(2, 2)) + 9 * (row % 2)).tolist(), "kind": "ab"[row % 2]} for row in range(60)]
    rows[7]["grid"][0][0] = np.inf
    features = {"grid": datasets.Array((2, 2), "float64"), "kind": datasets.ClassLabel(("a", "b"))}
    ds = datasets.import_examples(rows, features, "grids", target="kind", split=None)
    assert datasets.check(ds).findings("label_error") == []
