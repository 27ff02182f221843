"""The tabs that check, label and prepare what is open, driven as the browser drives them."""

import threading

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import steps


@pytest.fixture
def doubled(store, few_digits):
    """Digits of which the first three stand twice."""
    x, y = few_digits
    return datasets.import_arrays(np.concatenate([x, x[:3]]), np.concatenate([y, y[:3]]), "digits", split=None)


def front(panel):
    return list(panel.tabs)[panel.selector.selected]


def shown(panel, name):
    panel.select(name)
    return panel.tabs[name].shown


def checked(panel):
    piece = shown(panel, "check")
    piece.work.start.click()
    piece.work.wait(60)
    return piece


def test_nothing_is_made_of_a_tab_before_it_comes_to_the_front(doubled):
    panel = datasets.panel(doubled)
    assert [panel.tabs[name].children for name in ("check", "label", "prepare")] == [(), (), ()]


def test_what_a_check_found_is_accepted_applied_and_saved(doubled):
    panel = datasets.panel(doubled)
    piece = shown(panel, "check")
    assert (piece.report, piece.apply.layout.display, piece.bar.layout.display) == (None, "none", "none")
    piece = checked(panel)
    assert piece.work.message.value == ""
    assert (piece.apply.disabled, piece.bar.save.disabled) == (True, True)
    piece.view.accept(piece.report.findings("duplicate"))
    piece.apply.click()
    assert (piece.view.accepted, piece.apply.disabled) == ([], True)
    assert piece.bar.edits.summary.removed == 3
    piece.bar.undo.click()
    piece.bar.redo.click()
    piece.bar.save.click()
    assert (panel.dataset.reference, front(panel), len(panel.dataset)) == ("digits@2", "look", 120)
    assert panel.version.options == (2, 1)
    assert "digits@2 is saved." in panel.message.value
    again = shown(panel, "check")
    assert again.dataset.reference == "digits@2"
    assert panel.message.value.count("saved") == 0
    panel.version.value = 1
    assert panel.tabs["check"].shown is piece  # what was found is there again


def test_a_check_is_cancelled(doubled):
    panel = datasets.panel(doubled)
    piece = shown(panel, "check")
    begun = threading.Event()

    def wait_for_cancel(change):
        if change["new"]:
            begun.set()
            piece.work.wish.wait(30)

    piece.work.progress.observe(wait_for_cancel, "value")
    piece.work.start.click()
    assert begun.wait(60)
    assert (piece.work.start.disabled, piece.work.cancel.disabled) == (True, False)
    piece.work.cancel.click()
    piece.work.wait(60)
    assert "Cancelled." in piece.work.message.value
    assert (piece.report, piece.work.progress.value, piece.work.start.disabled) == (None, "", False)


def test_a_check_that_cannot_be_done_is_said_in_words(doubled, store):
    panel = datasets.panel(doubled)
    piece = shown(panel, "check")
    for shard in (store / "digits" / "1").rglob("*.parquet"):
        shard.unlink()
    piece.work.start.click()
    piece.work.wait(60)
    assert 'role="alert"' in piece.work.message.value
    assert piece.report is None


def test_labels_are_changed_and_labelling_goes_on_in_what_is_saved(doubled):
    panel = datasets.panel(doubled)
    panel.select("label")
    view = panel.tabs["label"].view
    assert view.dataset.reference == "digits@1"
    labeller = view.labeller
    labeller._receive(labeller, {"type": "answer", "place": 0, "answer": "7", "generation": labeller.generation}, [])
    view.bar.save.click()
    assert (panel.dataset.reference, front(panel)) == ("digits@2", "label")
    assert view.dataset.reference == "digits@2"
    assert "digits@2 is saved; you go on in it." in view.message.value
    assert panel.dataset.take([0], ["label"])[0]["label"] == "7"


def test_a_recipe_goes_along_and_what_it_made_is_opened(doubled):
    panel = datasets.panel(doubled)
    view = shown(panel, "prepare")
    assert view.source.reference == "digits@1"
    view.add(steps.Flip(probability=1.0))
    doubled.split(seed=1)
    panel.version.value = 1
    panel.list_again()
    panel.version.value = 2
    view = shown(panel, "prepare")
    assert [step.name for step in view.recipe.steps] == ["flip"]
    view.name.value = "flipped"
    view.work.start.click()
    view.work.wait(60)
    assert (panel.dataset.reference, front(panel)) == ("flipped@1", "look")
    assert "flipped@1 is saved." in panel.message.value
    assert not shown(panel, "prepare").recipe


def test_what_is_prepared_while_another_dataset_is_open_does_not_come_between(doubled, few_digits):
    datasets.import_arrays(*few_digits, name="other")
    panel = datasets.panel(doubled)
    view = shown(panel, "prepare")
    view.add(steps.Flip(probability=1.0))
    panel.chooser.value = "other"
    view.work.start.click()
    view.work.wait(60)
    assert (panel.dataset.reference, front(panel)) == ("other@1", "prepare")
    assert "digits@2 is saved." in panel.message.value
    panel.chooser.value = "digits"
    assert panel.dataset.reference == "digits@2"
    panel.version.value = 1
    assert panel.tabs["prepare"].shown is view


def test_the_tabs_speak_chinese(doubled, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    panel = datasets.panel(doubled)
    assert shown(panel, "check").work.start.description == "开始检查"
    assert shown(panel, "prepare").work.cancel.description == "取消"
    panel.select("label")
    assert panel.tabs["label"].view.bar.save.description == "保存版本"


def test_a_check_has_a_panel_of_its_own(doubled):
    panel = datasets.check_panel("digits")
    assert panel.dataset.reference == "digits@1"
    assert "CheckPanel" in panel._repr_mimebundle_()["text/plain"]
