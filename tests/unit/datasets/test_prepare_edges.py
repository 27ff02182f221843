"""Recipes on odd values, odd columns and odd functions: done right, or refused in words before anything is saved."""

import datetime
import functools
import math
import tracemalloc
from decimal import Decimal

import numpy as np
import pyarrow.parquet as pq
import pytest
from armillary import datasets
from armillary.datasets import Array, Boxes, ClassLabel, Image, Recipe, Sequence, Value, steps
from armillary.datasets.preparing.rows import stored
from armillary.datasets.preparing.step_form import StepForm
from armillary.errors import DatasetError
from PIL import Image as PillowImage

TEXT, FLOAT, WHOLE = Value("string"), Value("float64"), Value("int64")
PICTURE = PillowImage.new("RGB", (9, 9), "teal")


def prepared(rows, features, recipe, name="made"):
    given = datasets.import_examples(rows, features, f"{name}-given", split=None)
    return datasets.prepare(given, recipe, name)


def numbers(values, dtype, recipe, name="made"):
    """Return what a recipe makes of a column of numbers."""
    made = prepared([{"x": value} for value in values], {"x": Value(dtype)}, recipe, name)
    return [row["x"] for row in made.iterate()]


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_an_infinite_value_teaches_nothing(store, method):
    finite = numbers([1.0, 2.0, 5.0], "float64", steps.Scale(method), "finite")
    assert numbers([1.0, 2.0, 5.0, math.inf], "float64", steps.Scale(method)) == [*finite, math.inf]


@pytest.mark.parametrize(("method", "filled"), [("mean", "2.17"), ("median", "2.50"), ("most_frequent", "1.50")])
def test_decimal_numbers_are_filled_in_with_their_places(store, method, filled):
    given = [Decimal("1.5"), Decimal("2.5"), Decimal("2.5"), None]
    given = [Decimal("1.5")] * 2 + given if method == "most_frequent" else given
    assert numbers(given, "decimal128(10, 2)", steps.Impute(method))[-1] == Decimal(filled)


def test_a_mean_of_the_largest_whole_numbers_fits_their_column(store):
    assert numbers([2**63 - 1, 2**63 - 1, None], "int64", steps.Impute())[-1] == 2**63 - 1


def test_a_constant_that_a_column_cannot_hold_is_refused(store):
    with pytest.raises(DatasetError, match=r"'x' cannot hold 2\.5: it is int64"):
        numbers([1, None], "int64", steps.Impute("constant", 2.5))


def test_what_was_learned_of_other_columns_is_refused(store):
    known = prepared(
        [{"a": 1.0, "k": "u"}, {"a": 3.0, "k": "v"}], {"a": FLOAT, "k": TEXT}, [steps.Scale(), steps.Encode()]
    )
    with pytest.raises(DatasetError, match="'scale' has learned nothing about column 'b'"):
        prepared([{"a": 1.0, "b": 9.0, "k": "u"}], {"a": FLOAT, "b": FLOAT, "k": TEXT}, Recipe.of(known), "more")
    with pytest.raises(DatasetError, match="'encode' has learned nothing about column 'm'"):
        prepared([{"a": 1.0, "k": "u", "m": "w"}], {"a": FLOAT, "k": TEXT, "m": TEXT}, Recipe.of(known), "others")


def test_a_class_that_was_learned_and_is_not_there_is_refused(store):
    known = prepared([{"k": "u"}], {"k": ClassLabel(("u", "v"))}, steps.Impute())
    with pytest.raises(DatasetError, match="'k' has no class 'u'"):
        prepared([{"k": None}], {"k": ClassLabel(("v", "w"))}, Recipe.of(known), "others")


def test_pictures_are_normalised_by_as_many_numbers_as_they_have_channels(store):
    with pytest.raises(DatasetError, match="channels: 1 cannot be normalised by numbers for 3"):
        prepared([{"image": PICTURE}], {"image": Image()}, [steps.Resize(4, 4), steps.Normalise(), steps.Grey()])
    made = prepared(
        [{"image": PICTURE}], {"image": Image()}, [steps.Resize(4, 4), steps.Grey(), steps.Normalise()], "grey"
    )
    assert len(made.input_spec.mean) == made.input_spec.shape[-1] == 1


# Parameters and columns --------------------------------------------------------------------------------------


def test_parameters_of_numpy_are_plain_numbers_in_the_recipe(store):
    recipe = [steps.Filter("x", among=[3, np.int64(5)]), steps.Scale()]
    made = prepared([{"x": 3}, {"x": 4}, {"x": 5}], {"x": WHOLE}, recipe)
    assert made.manifest.recipe[1]["among"] == [3, 5]
    assert steps.Resize(np.int64(4), np.int64(6)) == steps.Resize(4, 6)
    assert steps.Noise(np.float64(0.5)).to_json()["amount"] == 0.5


def test_two_columns_of_one_name_are_not_made(store):
    """They became one."""
    with pytest.raises(DatasetError, match=r"'encode' would make two columns called 'a=b=c'. Leave out one of"):
        prepared([{"a": "b=c", "a=b": "c"}, {"a": "d", "a=b": "e"}], {"a": TEXT, "a=b": TEXT}, steps.Encode())


def test_no_column_is_made_in_the_place_of_another(store):
    with pytest.raises(DatasetError, match="'encode' would make a column 'k=a', and there is one"):
        prepared([{"k": "a", "k=a": 5.0}], {"k": TEXT, "k=a": FLOAT}, steps.Encode())
    given = datasets.import_arrays(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1], name="arrays", split=None)
    with pytest.raises(DatasetError, match="'mixup' would make a column 'label_mixed', and there is one"):
        datasets.prepare(given, [steps.Mixup(), steps.Mixup()], "twice")


def test_a_target_keeps_classes(store):
    given = datasets.import_arrays(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1], name="arrays", split=None)
    named = steps.Map(lambda _example: {"label": "a"}, features={"label": TEXT})
    with pytest.raises(DatasetError, match="'map' would make 'label', the target, something without classes"):
        datasets.prepare(given, named, "named")


# Filter ------------------------------------------------------------------------------------------------------


def test_boxes_are_counted(store):
    boxes = [{"bbox": [(1, 1, 2, 2)] * n, "category": [0] * n} for n in range(3)]
    rows = [{"image": PICTURE, "objects": each} for each in boxes]
    made = prepared(rows, {"image": Image(), "objects": Boxes(("tree",))}, steps.Filter("objects", at_least=1))
    assert [len(row["objects"]["bbox"]) for row in made.iterate()] == [1, 2]


def test_what_has_no_size_is_refused(store):
    with pytest.raises(DatasetError, match="'filter': values of 'day' have no size"):
        prepared([{"day": datetime.date(2026, 1, 1)}], {"day": Value("date32")}, steps.Filter("day", at_least=3))
    with pytest.raises(DatasetError, match="'filter': at_least is 'three'"):
        steps.Filter("x", at_least="three")


def filled_in(step, **values):
    """Return the step that a form makes of what a person types."""
    made = []
    form = StepForm(("x",), made.append)
    form.kind.value = step
    for name, value in values.items():
        form.parameters[name].value = value
    form.button.click()
    return made[0] if made else form.message.value


def test_a_forms_numbers_are_numbers(store):
    assert numbers([3, 4, 5], "int64", filled_in("filter", column="x", among="3, 5")) == [3, 5]
    assert numbers([0.5, 1.0], "float64", filled_in("filter", column="x", among="1"), "floats") == [1.0]
    assert "Give numbers." in filled_in("normalise", mean="a", std="b")


def test_a_forms_truth_values_and_names_with_commas_are_chosen(store):
    chosen = numbers([True, False, None], "bool", filled_in("filter", column="x", among="false"))
    assert chosen == [False]
    assert filled_in("filter", column="x", among='"dog, big" , cat,, 5" nail').among == ("dog, big", "cat", '5" nail')


# Functions of one's own --------------------------------------------------------------------------------------


def fails(_more, _example):
    raise ValueError("no")


def test_a_callable_without_a_name_fails_as_one_with(store):
    with pytest.raises(DatasetError, match=r"functools\.partial.*ValueError: no"):
        numbers([1], "int64", steps.Map(functools.partial(fails, 3)))


def test_new_lists_of_pictures_take_the_steps_that_follow(store):
    def twice(example):
        return {"both": [PICTURE, PillowImage.new("L", (5, 7))]}

    recipe = [steps.Map(twice, features={"both": Sequence(Image())}), steps.Resize(4, 6), steps.Map(_first_of_both)]
    [row] = prepared([{"text": "a"}], {"text": TEXT}, recipe).iterate()
    assert [part.image().size for part in row["both"]] == [(6, 4)]


def _first_of_both(example):
    return {"both": example["both"][:1]}


def test_a_list_may_lack_a_picture(store):
    [row] = prepared([{"both": [PICTURE, None]}], {"both": Sequence(Image())}, steps.Resize(4, 4)).iterate()
    assert (row["both"][0].image().size, row["both"][1]) == ((4, 4), None)


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "F", "P", "YCbCr"])
@pytest.mark.parametrize("file", ["png", "jpeg"])
def test_pictures_of_every_mode_are_stored(store, mode, file):
    def changed(_example):
        return {"image": PICTURE.convert("L").convert(mode)}

    [row] = prepared([{"image": PICTURE}], {"image": Image()}, [steps.Map(changed), steps.SaveAs(file)]).iterate()
    grey = np.asarray(row["image"].image().convert("L")).astype(int)
    assert np.abs(grey - np.asarray(PICTURE.convert("L"))).max() <= 2


# Arrays, lists and sounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_of_any_kind_of_float_are_changed_and_stored(store, dtype):
    rows = [{"x": np.ones((2, 3), dtype)}, {"x": None}]
    made = prepared(rows, {"x": Array((None, 3), dtype)}, [steps.SpecAugment(), steps.Noise(), steps.Pad(4)])
    given, missing = [row["x"] for row in made.iterate()]
    assert (np.shape(given), missing) == ((4, 3), None)
    np.testing.assert_allclose(given[:2], 1, atol=1e-3)


def test_arrays_without_a_row_stay_so_or_are_padded(store):
    rows = [{"x": np.zeros((0, 3), np.float32)}, {"x": np.ones((2, 3), np.float32)}]
    features = {"x": Array((None, 3), "float32")}
    made = prepared(rows, features, [steps.SpecAugment(), steps.Noise()])
    assert [len(row["x"]) for row in made.iterate()] == [0, 2]
    padded = prepared(rows, features, steps.Pad(4), "padded")
    assert [np.shape(row["x"]) for row in padded.iterate()] == [(4, 3)] * 2


def test_pictures_of_several_modes_are_laid_over_each_other(store):
    rows = [{"image": PICTURE, "label": label} for label in "abab"]
    features = {"image": Image(), "label": ClassLabel(("a", "b"))}
    given = datasets.import_examples(rows, features, "given", target="label", split=None)
    some_grey = steps.Map(lambda example: {"image": PICTURE.convert("L" if example["label"] == "a" else "RGB")})
    made = datasets.prepare(given, [some_grey, steps.Resize(4, 4), steps.Mixup()], "made")
    assert {row["image"].image().mode for row in made.iterate()} == {"RGB"}


def test_large_arrays_end_a_row_group_and_are_never_lists_of_numbers(store, monkeypatch):
    monkeypatch.setattr("armillary.datasets.preparing.units.ROW_GROUP_BYTES", 3_000_000)
    rows = [{"x": np.full((500, 1000), number, np.float32)} for number in range(4)]
    features = {"x": Array((500, 1000), "float32")}
    made = prepared(rows, features, steps.SpecAugment())
    [shard] = made.manifest.shards
    assert pq.ParquetFile(made.folder / shard.file).metadata.num_row_groups == 2
    tracemalloc.start()
    try:
        stored(features["x"], rows[0]["x"], None)
        assert tracemalloc.get_traced_memory()[1] < rows[0]["x"].nbytes / 4
    finally:
        tracemalloc.stop()


def test_what_is_no_number_is_not_padded(store):
    with pytest.raises(DatasetError, match="'pad' does not fit any column"):
        prepared([{"x": [True]}], {"x": Sequence(Value("bool"))}, steps.Pad(3))


@pytest.mark.parametrize("rate", [65_537, 1_000_000])
def test_a_rate_that_no_file_can_have_is_refused(rate):
    with pytest.raises(DatasetError, match=f"'resample': rate is {rate}"):
        steps.Resample(rate)


def test_a_fraction_in_a_column_of_whole_numbers_is_an_error_of_its_row(store):
    with pytest.raises(DatasetError, match=r"example 1: map: .*2\.5 is no int64"):
        numbers([5], "int64", steps.Map(lambda example: {"x": example["x"] / 2}))


def test_a_model_takes_no_example_without_its_picture(store):
    rows = [{"picture": None if number == 3 else PICTURE, "kind": "ab"[number % 2]} for number in range(8)]
    features = {"picture": Image(), "kind": ClassLabel(("a", "b"))}
    given = datasets.import_examples(rows, features, "given", target="kind", split=None)
    with pytest.raises(DatasetError, match=r"1 of 8 examples .* example 4: no value for 'picture'"):
        datasets.prepare(given, steps.Resize(4, 4), "made")
    made = datasets.prepare(given, steps.Resize(4, 4), "made", on_error="skip")
    assert made.arrays(None)[0].shape == (7, 4, 4, 3)
    assert len(datasets.prepare(given, steps.Grey(), "grey")) == 8  # of no one size: no model takes it yet


def test_a_model_sees_what_is_a_number_of_a_table(store):
    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    rows = [
        {"at": day + datetime.timedelta(days=n), "day": day.date(), "took": datetime.timedelta(n), "text": "a", "n": n}
        for n in range(9)
    ]
    rows.append({"at": None, "day": None, "took": None, "text": None, "n": None})
    kinds = ("timestamp[s, tz=UTC]", "date32", "duration[s]", "large_string", "decimal128(9, 2)")
    features = dict(zip(("at", "day", "took", "text", "n"), map(Value, kinds), strict=True))
    rows = [{**row, "kind": "b"} for row in rows]
    given = datasets.import_examples(
        rows, {**features, "kind": ClassLabel(("a", "b"))}, "given", target="kind", split=None
    )
    made = datasets.prepare(given, steps.Scale(columns=("n",)), "made")
    assert made.input_spec.columns == ("at", "took", "n")
    days = np.arange(9) * 86_400
    np.testing.assert_allclose(made.input_spec.mean[:2], (day.timestamp() + 4 * 86_400, days.mean()))
    values = made.raw_examples.take(np.arange(10))
    assert np.isnan(values[9]).all()
    assert np.isfinite(values[:9]).all()
