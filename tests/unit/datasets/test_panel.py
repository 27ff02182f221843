"""The panel and its uploader, driven as the browser drives them."""

from pathlib import Path

import pytest
from armillary import datasets
from armillary.datasets.uploader import Uploader
from sklearn.datasets import load_iris


def test_a_table_is_looked_at_named_and_saved(store, tmp_path):
    frame = load_iris(as_frame=True).frame
    frame.to_csv(tmp_path / "My Irises.csv", index=False)
    panel = datasets.panel()
    panel.path.value = str(tmp_path / "My Irises.csv")
    panel.look.click()
    assert (panel.name.value, panel.target.value) == ("my-irises", "target")
    assert "Class balance" in panel.view._summary.value
    panel.save.click()
    assert panel.dataset.reference == "my-irises@1"
    assert panel.chooser.value == "my-irises"
    assert "my-irises@1 is saved." in panel.message.value
    assert panel.dataset.splits == {"train": 120, "validation": 15, "test": 15}


def test_errors_are_said_in_words_and_the_form_stays(store, class_folders, tmp_path):
    panel = datasets.panel()
    panel.path.value = str(tmp_path / "nowhere.zip")
    panel.look.click()
    assert 'role="alert"' in panel.message.value
    assert "There is no file or folder" in panel.message.value
    panel.path.value = str(class_folders)
    panel.look.click()
    panel.name.value = "Not A Name"
    panel.save.click()
    assert "cannot name a dataset" in panel.message.value
    panel.name.value = "digits"
    panel.save.click()
    assert panel.dataset.reference == "digits@1"
    assert len(panel.view.thumbnails.images) == 60


def test_the_pages_and_filters_of_a_saved_dataset(digits):
    panel = datasets.panel("digits@1")
    view = panel.view
    assert (view.thumbnails.pages, len(view.thumbnails.images)) == (2, 60)
    view.thumbnails.page = 1
    assert len(view.thumbnails.images) == 60
    view.shown_class.value = 7
    assert view.thumbnails.captions == ["7"] * 12
    assert view.thumbnails.page == 0
    view.split.value = "test"
    assert view.thumbnails.captions == ["7"]


def test_choosing_a_dataset_and_a_version_shows_it(digits, few_digits):
    digits.split(seed=1)
    panel = datasets.panel()
    panel.chooser.value = "digits"
    assert panel.dataset.reference == "digits@2"
    assert len(panel.view.thumbnails.images) == 60
    panel.version.value = 1
    assert "digits@1" in panel.view._summary.value
    panel.chooser.value = ""
    assert panel.view.layout.display == "none"
    panel.chooser.value = "digits"
    assert panel.view.shown == "digits@2"
    assert panel.view.layout.display is None


def test_the_panel_speaks_chinese(digits, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    panel = datasets.panel("digits")
    assert panel.chooser.description == "数据集"
    assert "各类别样本数" in panel.view._summary.value
    assert panel.uploader.texts["choose"] == "选择文件"


def test_datasets_that_are_no_classification_are_shown_too(store, png):
    features = {"image": datasets.Image(), "caption": datasets.Value("string")}
    rows = [{"image": png(color=10 * number), "caption": f"picture {number}"} for number in range(5)]
    datasets.import_examples(rows, features, "captions")
    pairs = [{"pair": {"en": "bird", "zh": "鸟"}}] * 5
    datasets.import_examples(pairs, {"pair": datasets.Translation(("en", "zh"))}, "pairs")
    panel = datasets.panel("captions")
    assert len(panel.view.thumbnails.images) == 5
    assert "5 examples of image + text" in panel.view._summary.value
    panel.chooser.value = "pairs"
    assert "鸟" in panel.view._table.value
    assert panel.view.shown == "pairs@1"
    assert not [text for text in panel.message.value.split(">") if text == '<p role="alert"']
