"""Tables of pandas and Dask: the same rows, and of Dask no more read than asked for."""

import dask
import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets.reading import frames, row_groups


@pytest.fixture
def penguins(store, tmp_path):
    """A table of 700 rows in three row groups, with a category, missing numbers and a text."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "mass": np.where(random.random(700) < 0.1, np.nan, random.random(700)),
            "island": random.choice(["Biscoe", "Dream"], 700),
            "year": random.integers(2007, 2010, 700),
            "species": random.choice(["Adelie", "Gentoo"], 700),
        }
    )
    table.to_csv(tmp_path / "penguins.csv", index=False)
    return datasets.import_table(tmp_path / "penguins.csv", "penguins", "species", split={"train": 0.8, "test": 0.2})


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_dask_and_pandas_have_the_same_rows(penguins, split, monkeypatch):
    monkeypatch.setattr(frames, "PARTITION_BYTES", 1)
    lazy = penguins.to_dask(split)
    assert lazy.npartitions == 3
    assert lazy.known_divisions
    with dask.config.set(scheduler="sync"):
        pd.testing.assert_frame_equal(lazy.compute(), penguins.to_pandas(split))
    assert penguins.to_pandas(split).index.tolist() == penguins.rows(split).tolist()


def test_dask_reads_the_groups_and_columns_that_are_asked_for(penguins, monkeypatch):
    read = []
    original = row_groups.RowGroups.read
    monkeypatch.setattr(
        row_groups.RowGroups,
        "read",
        lambda self, group, *rest: read.append((group, rest[0])) or original(self, group, *rest),
    )
    monkeypatch.setattr(frames, "PARTITION_BYTES", 1)
    lazy = penguins.to_dask("train", ["species", "mass"])
    assert read == []
    with dask.config.set(scheduler="sync"):
        part = lazy.partitions[1].compute()
    assert read == [(1, ["species", "mass"])]
    assert list(part) == ["species", "mass"]
    pd.testing.assert_frame_equal(part, penguins.to_pandas()[["species", "mass"]].loc[part.index])


def test_one_column_may_be_named_by_itself(penguins):
    assert list(datasets.to_pandas(penguins, columns="year")) == ["year"]
    assert list(penguins.to_dask(columns="year").columns) == ["year"]
    assert next(penguins.iterate(columns="year")).keys() == {"year"}
    assert penguins.take([0], "year")[0].keys() == {"year"}


def test_whole_numbers_stay_exact_beside_missing_ones(store, monkeypatch):
    numbers = {"large": "int64", "positive": "uint64", "small": "int64", "all": "int64"}
    rows = [{"large": 2**60 + n, "positive": 2**64 - 1 - n, "small": n, "all": 2**60 + n} for n in range(600)]
    rows[300] = {"all": 2**60 + 300}
    features = {name: datasets.Value(dtype) for name, dtype in numbers.items()}
    ds = datasets.import_examples(rows, features, "numbers", split=None)
    frame = ds.to_pandas()
    assert list(map(str, frame.dtypes)) == ["Int64", "UInt64", "float64", "int64"]
    kept = frame.drop(index=300)
    assert {name: kept[name].astype(object).tolist() for name in ("large", "positive")} == {
        name: [row[name] for row in rows if name in row] for name in ("large", "positive")
    }
    monkeypatch.setattr(frames, "PARTITION_BYTES", 1)
    with dask.config.set(scheduler="sync"):
        pd.testing.assert_frame_equal(ds.to_dask().compute(), frame)


def test_small_row_groups_share_a_partition(penguins):
    assert penguins.to_dask().npartitions == 1


def test_pictures_come_as_their_files(digits):
    with dask.config.set(scheduler="sync"):
        frame = digits.to_dask("test").compute()
    expected = digits.to_pandas("test")
    assert frame["image"].tolist() == expected["image"].tolist()
    assert frame["image"].iloc[0]["bytes"].startswith(b"\x89PNG")
    assert frame["label"].tolist() == expected["label"].tolist()
