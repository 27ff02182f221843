"""What changed, what came from what, what may be deleted, and what people say of it."""

import json

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Value
from armillary.errors import DatasetError
from support.full_disk import file_size_limit

FEATURES = {"text": Value("string"), "label": ClassLabel(("no", "yes"))}


def save(labels, name="texts", **options):
    rows = [{"text": f"text {number}", "label": label} for number, label in labels.items()]
    return datasets.import_examples(rows, FEATURES, name, target="label", **options)


def test_a_difference_counts_what_was_added_removed_relabelled_and_moved(store):
    old = save({number: "yes" if number % 2 else "no" for number in range(20)}, split=None)
    new = save({number: "yes" if number % 2 or number in (4, 6) else "no" for number in range(2, 23)}, split=None)
    found = datasets.diff(old, "texts@2")
    assert (found.removed, found.added) == ((0, 1), (18, 19, 20))
    assert found.relabelled == ((4, 2), (6, 4))
    assert (found.moved, found.features) == ((), {})
    assert str(found) == "texts@1 → texts@2: 3 added, 2 removed, 2 relabelled, 0 in other splits"
    again = new.split(0.5, 0.0, 0.5)
    moved = datasets.diff(new, again)
    assert {row for _old, row in moved.moved} == set(again.rows("test"))
    assert (moved.added, moved.removed, moved.relabelled) == ((), (), ())


def test_equal_examples_are_told_apart_by_their_split(store):
    rows = [{"text": "the same", "label": "no"}] * 10 + [{"text": "the same", "label": "yes"}] * 10
    whole = datasets.import_examples(rows, FEATURES, "texts", target="label", split=None)
    one, other = (whole.split(seed=seed, duplicates=False) for seed in (0, 1))
    assert datasets.diff(one, other).moved == ()


def test_a_difference_between_columns_names_them(store):
    one = save({number: "yes" if number % 2 else "no" for number in range(10)})
    other = datasets.import_examples([{"text": "a"}] * 3, {"text": Value("large_string")}, "others")
    assert dict(datasets.diff(one, other).features) == {
        "text": (Value("string"), Value("large_string")),
        "label": (FEATURES["label"], None),
    }


def test_a_column_more_or_less_is_no_other_example(store):
    base = save({number: "yes" if number % 2 else "no" for number in range(30)})
    edits = datasets.edit(base)
    edits.add_column("note", Value("string"))
    edits.set(0, {"note": "odd"})
    edits.relabel(1, "no")
    noted = edits.save("noted")
    found = datasets.diff(base, noted)
    assert str(found) == ("texts@1 → noted@1: 0 added, 0 removed, 1 relabelled, 0 in other splits; other columns: note")
    assert found.relabelled == ((1, 1),)
    assert datasets.diff(noted, base).relabelled == ((1, 1),)
    other = datasets.import_examples([{"number": 1}] * 3, {"number": Value("int64")}, "others")
    assert [len(rows) for rows in (datasets.diff(base, other).added, datasets.diff(base, other).removed)] == [3, 30]


def test_the_lineage_runs_from_the_source_to_all_that_was_made_of_it(digits):
    second = digits.split(seed=1)
    third = second.split(seed=2)
    fourth = second.split(seed=3)
    found = datasets.lineage("digits@2")
    assert found.ancestors == ("digits@1",)
    assert found.descendants == (third.reference, fourth.reference)
    assert found.edges == (("digits@1", "digits@2"), ("digits@2", "digits@3"), ("digits@2", "digits@4"))
    assert found.source.startswith("arrays in memory")
    assert datasets.lineage("digits@4").ancestors == ("digits@2", "digits@1")


def test_only_what_nothing_refers_to_is_deleted_and_its_number_stays_taken(digits, store, tmp_path):
    digits.split(seed=1).split(seed=2)
    with pytest.raises(DatasetError, match=r"digits@2 cannot be deleted: digits@3 refer to it"):
        datasets.delete("digits@2")
    run = tmp_path / "runs" / "run-1"
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"dataset": "digits@3"}))
    with pytest.raises(DatasetError, match=r"digits@3 cannot be deleted: run run-1 refer to it"):
        datasets.delete("digits@3")
    (run / "plan.json").unlink()
    datasets.delete("digits@3")
    assert [path.name for path in (store / "digits/3").iterdir()] == ["deleted.json"]
    assert datasets.list()[0].versions == (1, 2)
    with pytest.raises(DatasetError, match=r"digits@3 was deleted by \S+ on 20..-..-..\. Open another version: 1, 2"):
        datasets.open("digits@3")
    fourth = datasets.open("digits").split(seed=7)
    assert fourth.reference == "digits@4"
    datasets.delete(fourth)
    assert datasets.list()[0].versions == (1, 2)
    np.testing.assert_array_equal(datasets.open("digits@2").arrays(None)[0], digits.arrays(None)[0])


@pytest.mark.parametrize(("reference", "message"), [("digits", "names no version"), ("digits@9", "has no version 9")])
def test_deletion_needs_a_version_that_is_there(digits, reference, message):
    with pytest.raises(DatasetError, match=message):
        datasets.delete(reference)


def test_a_card_describes_all_versions_and_may_change(digits, store):
    assert digits.card == datasets.Card()
    datasets.describe("digits", "Ten digits, **handwritten**.", ["digits", "手写", "digits"])
    datasets.describe(digits, tags=["ocr"])
    assert digits.split(seed=1).card == datasets.Card("Ten digits, **handwritten**.", ("ocr",))
    assert sorted(path.name for path in (store / "digits").iterdir()) == ["1", "2", "card.json"]
    with pytest.raises(DatasetError, match=r"'a\\nb' is no tag"):
        datasets.describe("digits", tags=["a\nb"])
    with pytest.raises(DatasetError, match=r"There is no dataset 'flowers'"):
        datasets.describe("flowers", "x")
    (store / "digits/card.json").write_text("{")
    assert digits.card == datasets.Card()


@pytest.mark.parametrize("reference", ["digits@1", "digits@01"])
def test_however_it_is_written_a_version_with_a_child_stays(digits, reference):
    digits.split(seed=1)
    with pytest.raises(DatasetError, match=r"digits@1 cannot be deleted: digits@2 refer to it"):
        datasets.delete(reference)


def test_a_version_is_deleted_and_described_where_it_lies(digits, store, few_digits, monkeypatch, tmp_path):
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "other"))
    other = datasets.import_arrays(*few_digits, name="digits")
    datasets.describe(digits, "the first")
    assert (digits.card.description, other.card.description) == ("the first", "")
    datasets.delete(digits)
    assert [datasets.open("digits@1").folder, (store / "digits/1/deleted.json").exists()] == [other.folder, True]


def test_deleting_frees_a_full_disk_and_a_card_says_that_it_is_full(digits, store):
    digits.split(seed=1)
    with pytest.raises(DatasetError, match=r"The card of digits cannot be written: File too large"), file_size_limit(0):
        datasets.describe("digits", "Ten digits.")
    with file_size_limit(0):
        datasets.delete("digits@2")
    assert [path.name for path in (store / "digits/2").iterdir()] == ["deleted.json"]
    assert sorted(path.name for path in (store / "digits").iterdir()) == ["1", "2"]
    assert digits.split(seed=1).reference == "digits@3"


def test_a_word_is_no_list_of_tags(digits):
    with pytest.raises(DatasetError, match=r"The tags are 'ocr'. Give words in a list"):
        datasets.describe("digits", tags="ocr")
