"""Splits: nothing that belongs together is parted, shares are kept as near as that allows, errors say what is wrong."""

import io

import numpy as np
import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Image, Sequence, Value
from armillary.datasets.kept_together import divided
from armillary.datasets.sameness import joined
from armillary.datasets.splits import apportioned
from armillary.errors import DatasetError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pictures

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def numbered_examples(count, **columns):
    """Texts that say their row, of two classes in turn, with these columns."""
    made = {name: [make(row) for row in range(count)] for name, make in columns.items()}
    return [
        {"text": f"text {row}", "label": row % 2, **{name: values[row] for name, values in made.items()}}
        for row in range(count)
    ]


def save(examples, **features):
    known = {"text": Value("string"), "label": ClassLabel(("no", "yes")), **features}
    return datasets.import_examples(examples, known, "made", target="label", split=None)


def splits_of(dataset, column):
    """Return the set of splits that each value of a column stands in."""
    frame = dataset.to_pandas().assign(split=dataset.split_of_rows())
    return frame.groupby(column, observed=True)["split"].agg(set).to_dict()


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=80),
    classes=st.integers(1, 4),
    labelled=st.booleans(),
    seed=st.integers(0, 9),
)
def test_units_are_whole_every_split_has_some_and_it_is_the_same_again(sizes, classes, labelled, seed):
    units = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = np.arange(len(units)) // 3 % classes if labelled and len(units) >= 12 * classes else None
    names = [str(label) for label in range(classes)]
    found = divided(labels, names, SHARES, seed, units)
    assert sum(found.counts().values()) == len(units)
    assert min(found.counts().values()) > 0
    assert all(len(np.unique(found.codes[units == unit])) == 1 for unit in range(len(sizes)))
    assert found.codes.tolist() == divided(labels, names, SHARES, seed, units).codes.tolist()


def test_shares_that_miss_a_millionth_still_give_every_row_a_split():
    assert sum(apportioned(50_000_000, [0.3333333] * 3)) == 50_000_000


@pytest.mark.parametrize("seed", range(3))
def test_groups_come_near_the_shares_of_each_class(seed):
    random = np.random.default_rng(seed)
    units = np.repeat(np.arange(400), random.integers(1, 9, 400))
    labels = random.choice(3, len(units), p=[0.6, 0.3, 0.1])
    found = divided(labels, ["a", "b", "c"], SHARES, seed, units)
    counts = np.array(list(found.class_counts(labels, 3).values()))
    np.testing.assert_allclose(counts / counts.sum(axis=0), np.outer([0.8, 0.1, 0.1], np.ones(3)), atol=0.02)


def test_rows_that_belong_together_through_others_are_one_unit():
    speakers, copies = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 3])
    assert joined(speakers, copies).tolist() == [0, 0, 0, 1, 2]
    assert joined(np.arange(3)).tolist() == [0, 1, 2]


def test_a_group_is_in_one_split(store):
    dataset = save(
        numbered_examples(200, speaker=lambda row: f"speaker {row % 23}" if row else None), speaker=Value("string")
    )
    parted = dataset.split(group="speaker", seed=3)
    assert {len(splits) for splits in splits_of(parted, "speaker").values()} == {1}
    assert sum(parted.splits.values()) == 200
    assert parted.splits["train"] == pytest.approx(160, abs=10)
    assert parted.manifest.recipe == ({"step": "split", **SHARES, "seed": 3, "group": "speaker"},)
    other = dataset.split(group="speaker", seed=3, name="others")
    assert (other.reference, other.manifest.parent) == ("others@1", dataset.reference)
    assert (other.assignment.codes == parted.assignment.codes).all()


def test_several_columns_make_a_group(store):
    examples = numbered_examples(120, speaker=lambda row: row % 5, day=lambda row: row // 5 % 4)
    parted = save(examples, speaker=Value("int64"), day=Value("int64")).split(group=["speaker", "day"])
    frame = parted.to_pandas().assign(split=parted.split_of_rows())
    assert (frame.groupby(["speaker", "day"])["split"].nunique() == 1).all()
    assert frame.groupby("speaker")["split"].nunique().max() > 1


def test_duplicates_are_never_parted_whatever_their_class_or_name(store):
    def png(number):
        buffer = io.BytesIO()
        Pictures.new("L", (4, 4), number).save(buffer, "PNG")
        return buffer.getvalue()

    examples = [{"image": {"bytes": png(row % 60), "path": f"{row}.png"}, "label": row // 60} for row in range(120)]
    features = {"image": Image(), "label": ClassLabel(("a", "b"))}
    imported = datasets.import_examples(examples, features, "pictures", target="label")
    for dataset in (imported, imported.split(seed=5)):
        splits = dataset.split_of_rows()
        assert splits[:60] == splits[60:]
        assert dataset.splits == {"train": 96, "validation": 12, "test": 12}
    parted = imported.split(seed=5, duplicates=False)
    assert parted.split_of_rows()[:60] != parted.split_of_rows()[60:]


@pytest.mark.parametrize("import_pictures", ["arrays", "images"])
def test_imports_of_pictures_keep_duplicates_together(store, tmp_path, few_digits, import_pictures):
    pictures, labels = (np.concatenate([part, part]) for part in few_digits)
    if import_pictures == "arrays":
        dataset = datasets.import_arrays(pictures, labels, name="twice")
    else:
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            (tmp_path / "p" / str(label)).mkdir(parents=True, exist_ok=True)
            Pictures.fromarray(picture).save(tmp_path / "p" / str(label) / f"{index:03d}.png")
        dataset = datasets.import_images(tmp_path / "p", "twice")
    same = {}
    for split, data in zip(dataset.split_of_rows(), dataset.encoded_images(range(240)), strict=True):
        same.setdefault(data, set()).add(split)
    assert len(same) == 120
    assert {len(splits) for splits in same.values()} == {1}


def test_texts_of_a_table_stay_together_and_rows_of_numbers_need_not(store, tmp_path):
    texts = pd.DataFrame({"text": [f"one of {n % 40} long texts" for n in range(120)], "kind": ["a", "b"] * 60})
    texts.to_csv(tmp_path / "texts.csv", index=False)
    dataset = datasets.import_table(tmp_path / "texts.csv", "texts", "kind", text=["text"])
    assert {len(splits) for splits in splits_of(dataset, "text").values()} == {1}
    pd.DataFrame({"n": [0, 1] * 60, "kind": ["a", "b"] * 60}).to_csv(tmp_path / "numbers.csv", index=False)
    numbers = datasets.import_table(tmp_path / "numbers.csv", "numbers", "kind")
    assert numbers.splits == {"train": 96, "validation": 12, "test": 12}
    with pytest.raises(DatasetError, match="2 different examples or groups cannot stand in each of train, validation"):
        numbers.split(duplicates=True)


@pytest.mark.parametrize(
    ("feature", "make"),
    [
        (Value("timestamp[s]"), lambda row: pd.Timestamp("2026-01-01") + pd.Timedelta(days=row // 3)),
        (Value("string"), lambda row: f"2026-01-01T{row // 3 // 60:02d}:{row // 3 % 60:02d}:00"),
        (Value("int64"), lambda row: row // 3),
    ],
)
def test_train_comes_before_validation_before_test(store, feature, make):
    examples = numbered_examples(150, when=make)
    parted = save([examples[row] for row in np.random.default_rng(0).permutation(150)], when=feature).split(time="when")
    assert parted.splits == {"train": 120, "validation": 15, "test": 15}
    frame = parted.to_pandas().assign(split=parted.split_of_rows())
    first, last = (frame.groupby("split")["when"].agg(which) for which in (min, max))
    assert last["train"] < first["validation"]
    assert last["validation"] < first["test"]


def test_a_later_copy_goes_where_the_first_is(store):
    examples = numbered_examples(50, day=lambda row: row)
    examples[45:] = [{**examples[row - 45], "day": row, "label": 1} for row in range(45, 50)]
    dataset = save(examples, day=Value("int64"))
    assert dataset.split(time="day", duplicates=False).splits == {"train": 40, "validation": 5, "test": 5}
    copies = dataset.split(0.8, 0.04, 0.16, time="day")
    assert copies.split_of_rows()[45:] == ["train"] * 5
    assert copies.splits == {"train": 45, "validation": 2, "test": 3}


def test_a_column_says_the_split(store):
    names = {8: "dev", 9: "Test"}
    dataset = save(numbered_examples(50, part=lambda row: names.get(row % 10, "train")), part=Value("string"))
    parted = dataset.split(column="part")
    assert parted.splits == {"train": 40, "validation": 5, "test": 5}
    assert parted.manifest.recipe == ({"step": "split", "column": "part"},)
    assert splits_of(parted, "part") == {"train": {"train"}, "dev": {"validation"}, "Test": {"test"}}


def test_a_column_that_parts_duplicates_is_refused(store):
    examples = [{"text": "the same", "label": 0, "part": part} for part in ("train", "test")]
    dataset = save([*examples, {"text": "other", "label": 1, "part": "train"}], part=ClassLabel(("train", "test")))
    with pytest.raises(DatasetError, match=r"1 examples have duplicates in another split of column 'part'"):
        dataset.split(column="part")
    assert dataset.split(column="part", duplicates=False).splits == {"train": 2, "test": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group": "nosuch"}, r"made@1 has no column 'nosuch'; columns: 'text', 'label', 'few', 'day', 'odd'"),
        ({"group": 3}, r"made@1 has no column 3"),
        ({"group": "few"}, r"2 different examples or groups cannot stand in each of train, validation, test"),
        (
            {"time": "date"},
            r"The values of 'date' in made@1 are no times, such as '3.1.2020'. Give a column of numbers",
        ),
        ({"time": "day"}, r"10 examples of made@1 have no value in 'day'"),
        ({"time": "few", "duplicates": False}, r"2 different times leave nothing for validation"),
        ({"column": "odd"}, r"Column 'odd' names 'holdout', which is no split"),
        ({"column": "few"}, r"Column 'few' names 0, 1, which is no split"),
        ({"column": "long"}, r"Column 'long' names 'a{59}…, which is no split"),
        ({"column": "words"}, r"Column 'words' of made@1 cannot name splits. Its values must be train"),
        ({"column": "few", "group": "day"}, r"Both group and column are given"),
        ({"train": 0.5}, r"add up to 0.7"),
        ({"seed": -1}, r"The seed is -1"),
    ],
)
def test_impossible_splits_are_refused(store, options, said):
    dataset = save(
        numbered_examples(
            40,
            few=lambda row: row // 20,
            day=lambda row: f"2026-01-{row:02d}" if row > 9 else None,
            odd=lambda row: "train" if row else "holdout",
            date=lambda row: f"{row % 28 + 3}.1.2020",
            long=lambda row: "a" * 1000,
            words=lambda row: ["train"],
        ),
        few=Value("int64"), day=Value("string"), odd=Value("string"), date=Value("string"), long=Value("string"),
        words=Sequence(Value("string")),
    )  # fmt: skip
    with pytest.raises(DatasetError, match=said):
        dataset.split(**options)
    assert datasets.open("made").version == 1
