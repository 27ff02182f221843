"""Dividing a version in the panel: each way that `Dataset.split` has, and what is said when it cannot be done."""

import pandas as pd
import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Value

FEATURES = {
    "text": Value("string"),
    "who": Value("string"),
    "year": Value("int64"),
    "fold": Value("string"),
    "mood": ClassLabel(("bad", "good")),
}


@pytest.fixture
def said(store):
    """Sixty texts of twelve people in thirty years, already in folds."""
    rows = [
        {
            "text": f"text {row}",
            "who": f"p{row % 12}",
            "year": 2000 + row // 2,
            "fold": "train" if row % 5 else "test",
            "mood": row % 2,
        }
        for row in range(60)
    ]
    return datasets.import_examples(rows, FEATURES, "said", target="mood", split=None)


def form_of(panel):
    panel.select("prepare")
    return panel.tabs["prepare"].splitting


def divided(panel, form):
    form.work.start.click()
    form.work.wait(60)
    assert "said@2 is saved." in panel.message.value
    assert list(panel.tabs)[panel.selector.selected] == "look"
    return panel.dataset.to_pandas().assign(split=panel.dataset.split_of_rows()), panel.dataset


def test_at_random_each_class_alike(said):
    panel = datasets.panel(said)
    form = form_of(panel)
    assert "Now: train 60" in form.title.value
    assert [way for _text, way in form.way.options] == ["random", "group", "time", "column"]
    form.seed.value = 3
    frame, saved = divided(panel, form)
    assert frame.equals(frame.assign(split=said.split(seed=3).split_of_rows()))
    assert (saved.class_counts["test"] == 3).all()


def test_by_group(said):
    panel = datasets.panel(said)
    form = form_of(panel)
    form.way.value = "group"
    assert form.groups.options == ("text", "who", "year", "fold")
    form.groups.value = ("who",)
    frame, saved = divided(panel, form)
    assert frame.groupby("who")["split"].nunique().eq(1).all()
    assert saved.manifest.recipe[0]["group"] == ["who"]


def test_by_time_and_as_a_column_says(said):
    panel = datasets.panel(said)
    form = form_of(panel)
    form.way.value = "time"
    assert (form.column.value, form.seed.layout.display) == ("year", "none")
    frame, _saved = divided(panel, form)
    order = [set(frame.loc[frame["split"] == split, "year"]) for split in ("train", "validation", "test")]
    assert max(order[0]) < min(order[1]) <= max(order[1]) < min(order[2])
    panel.version.value = 1
    form = form_of(panel)
    form.way.value = "column"
    assert (form.column.value, form._shares.layout.display) == ("fold", "none")
    form.work.start.click()
    form.work.wait(60)
    assert panel.dataset.splits == {"train": 48, "test": 12}


def test_what_cannot_divide_is_said_in_words(said):
    panel = datasets.panel(said)
    form = form_of(panel)
    form.shares["test"].value = 50
    form.work.start.click()
    form.work.wait(60)
    assert "add up to 1.4" in form.work.message.value
    form.shares["test"].value = 10
    form.way.value = "group"
    form.groups.value = ()
    form.work.start.click()
    form.work.wait(60)
    assert "No column is chosen." in form.work.message.value
    form.way.value = "column"
    form.column.value = "who"
    form.work.start.click()
    form.work.wait(60)
    assert "which is no split" in form.work.message.value
    assert [info.versions for info in datasets.list()] == [(1,)]


def test_cancel_while_equal_examples_are_looked_for(said):
    form = form_of(datasets.panel(said))
    form.duplicates.value = True
    bars = []
    form.work.progress.observe(lambda change: bars.append(change["new"]) or form.work.cancel.click(), "value")
    form.work.start.click()
    form.work.wait(60)
    assert "Cancelled. Nothing was saved." in form.work.message.value
    assert "Dividing" in bars[0]
    assert (form.work.start.disabled, form.work.cancel.disabled) == (False, True)
    assert datasets.list()[0].versions == (1,)


def test_pictures_alone_can_only_be_divided_at_random(digits):
    form = form_of(datasets.panel(digits))
    assert [way for _text, way in form.way.options] == ["random"]
    assert pd.isna(form.duplicates.value)
