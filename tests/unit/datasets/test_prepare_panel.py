"""The panel's piece for recipes, driven as a person does."""

import threading

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Image, Recipe, Value, steps
from armillary.datasets.preparing import units
from armillary.datasets.preparing.step import STEPS
from armillary.datasets.preparing.step_form import titles


@pytest.fixture
def view(digits):
    return datasets.recipe_panel(digits)


def add(view, name, **parameters):
    view.steps.kind.value = name
    for parameter, value in parameters.items():
        view.steps.parameters[parameter].value = value
    view.steps.button.click()


def test_steps_are_chosen_ordered_and_removed(view):
    assert view.work.start.disabled
    add(view, "normalise")
    add(view, "resize", height=20, width=20)
    add(view, "flip", direction="both", probability=1.0)
    assert view.recipe == Recipe([steps.Normalise(), steps.Resize(20, 20), steps.Flip("both", 1.0)])
    up, _down, _remove, text = view.listed.children[1].children
    assert "2. resize(height=20, width=20)" in text.value
    assert up.tooltip == "Move step 2 up"
    up.click()
    view.listed.children[2].children[2].click()
    assert view.recipe == Recipe([steps.Resize(20, 20), steps.Normalise()])
    assert not view.work.start.disabled
    assert [line.children[0].disabled for line in view.listed.children] == [True, False]


def test_lines_stay_where_they_are_and_what_was_learned_stays_known(store):
    given = datasets.import_examples([{"x": 1.0}, {"x": 3.0}], {"x": Value("float64")}, "given", split=None)
    known = Recipe.of(datasets.prepare(given, steps.Scale(), "made"))
    view = datasets.recipe_panel(given, recipe=known)
    view.add(steps.Filter("x", at_most=1))
    assert view.recipe.learned == (*known.learned, None)
    lines = view.listed.children
    lines[0].children[1].click()
    assert view.listed.children == lines, "or a keyboard would lose its place"
    assert [line.children[3].value for line in lines] == [
        "<code>1. filter(column=&#x27;x&#x27;, at_most=1)</code>",
        "<code>2. scale()</code>",
    ]
    assert [[button.disabled for button in line.children[:2]] for line in lines] == [[True, False], [False, True]]
    lines[1].children[2].click()
    assert view.listed.children == lines[:1]


def test_wrong_parameters_are_said_beside_the_step(view):
    add(view, "resize", height=0)
    assert 'role="alert"' in view.steps.message.value
    assert "Give a whole number, 1 or more." in view.steps.message.value
    add(view, "normalise", mean="0.5, 0.4, x")
    assert not view.recipe


def test_every_step_that_takes_no_function_has_a_form_with_its_usual_values(view):
    assert set(titles()) == set(STEPS) - {"map"}
    for name in titles():
        view.steps.kind.value = name
        if name != "filter":
            assert view.steps.step() == STEPS[name]()
    view.steps.kind.value = "filter"
    view.steps.parameters["column"].value = "label"
    view.steps.parameters["among"].value = "1, 2"
    view.steps.parameters["at_most"].value = ""
    assert view.steps.step() == steps.Filter("label", ("1", "2"))


def test_examples_before_and_after(view, png):
    add(view, "resize", height=14, width=14)
    view.try_out.click()
    assert view.trials.value.count("<img ") == 12
    assert view.trials.value.count('alt="14 × 14"') == 6
    add(view, "scale")
    view.try_out.click()
    assert "Step &#x27;scale&#x27; does not fit any column" in view.work.message.value
    rows = [{"image": png((9, 9)), "text": "<b>crow</b>", "n": 1.5}, {"image": png((4, 4)), "text": None, "n": None}]
    features = {"image": Image(), "text": Value("string"), "n": Value("float64")}
    given = datasets.import_examples(rows, features, "given", split=None)
    other = datasets.recipe_panel(given, recipe=Recipe([steps.Tokenise(), steps.Impute(), steps.Crop(8, 8)]))
    other.try_out.click()
    assert "&lt;b&gt;crow" in other.trials.value
    assert "fewer than the 8 × 8" in other.trials.value
    assert "<em>missing</em>" in other.trials.value


def test_prepared_with_progress(view, digits):
    add(view, "flip", probability=1.0)
    view.name.value, view.copies.value = "flipped", 1
    view.work.start.click()
    view.work.wait(60)
    assert "flipped@1 is saved: 220 examples." in view.work.message.value
    assert 'role="status"' in view.work.message.value
    assert (view.work.progress.value, view.work.start.disabled, view.work.cancel.disabled) == ("", False, True)
    x, before = view.dataset.arrays("train")[0], digits.arrays("train")[0]
    np.testing.assert_array_equal(x[1::2], before[:, :, ::-1])
    view.name.value = "Not A Name"
    view.work.start.click()
    view.work.wait(60)
    assert "cannot name a dataset" in view.work.message.value


def test_cancelled_and_begun_again(digits, view, monkeypatch):
    monkeypatch.setattr(units, "UNIT_ROWS_WITH_MEDIA", 1)
    begun = threading.Event()

    def wait_for_cancel(change):
        if change["new"]:
            begun.set()
            view.work.wish.wait(30)

    view.work.progress.observe(wait_for_cancel, "value")
    add(view, "rotate")
    view.work.start.click()
    assert begun.wait(30)
    assert view.work.start.disabled
    view.work.cancel.click()
    view.work.wait(60)
    assert "Cancelled. What was done is kept" in view.work.message.value
    assert [info.versions for info in datasets.list()] == [(1,)]
    view.work.progress.unobserve_all()
    view.work.start.click()
    view.work.wait(60)
    assert view.dataset.reference == "digits@2"


def test_in_chinese(digits, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    view = datasets.recipe_panel(digits)
    assert view.work.start.description == "开始处理"
    add(view, "resize", height=0)
    assert "请给出不小于 1 的整数。" in view.steps.message.value
