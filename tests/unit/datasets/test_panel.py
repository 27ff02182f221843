"""The panel, driven as the browser drives it."""

import pytest
from armillary import datasets
from sklearn.datasets import load_iris


@pytest.fixture(autouse=True)
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))


def rows_shown(panel):
    return panel.tabs["look"].examples.page.get("rows", [])


def front(panel):
    return list(panel.tabs)[panel.selector.selected]


def test_a_table_is_looked_at_named_and_saved(store, tmp_path):
    frame = load_iris(as_frame=True).frame
    frame.to_csv(tmp_path / "My Irises.csv", index=False)
    panel = datasets.panel()
    tab = panel.tabs["import"]
    assert (front(panel), panel.nothing.layout.display) == ("import", "none")
    tab.path.value = str(tmp_path / "My Irises.csv")
    tab.look.click()
    tab.work.wait()
    assert (tab.name.value, tab.forms["table"].target.value) == ("my-irises", "target")
    assert "Class balance" in tab.found.value
    assert "The first rows" in tab.found.value
    tab.save.click()
    tab.work.wait()
    assert panel.dataset.reference == "my-irises@1"
    assert panel.chooser.value == "my-irises"
    assert "my-irises@1 is saved." in panel.message.value
    assert panel.dataset.splits == {"train": 120, "validation": 15, "test": 15}
    assert front(panel) == "look"
    assert len(rows_shown(panel)) == 150


def test_an_upload_is_looked_at_and_goes_when_it_is_saved(store, class_folders, tmp_path):
    from armillary.datasets.uploading.parts import Announced, Upload

    (tmp_path / "some.csv").write_text("x,y\n1,a\n2,b\n3,a\n4,b\n")
    data = (tmp_path / "some.csv").read_bytes()
    upload = Upload(Announced("some.csv", len(data), 0))
    upload.write(0, data)
    panel = datasets.panel()
    tab = panel.tabs["import"]
    tab.uploader.file = upload.finish()
    assert tab.name.value == "some"
    tab.shares["train"].value, tab.shares["validation"].value, tab.shares["test"].value = 100, 0, 0
    tab.save.click()
    tab.work.wait()
    assert panel.dataset.reference == "some@1"
    assert not upload.path.exists()
    assert tab.uploader.file is None


def test_an_import_is_cancelled_and_nothing_is_saved(store, class_folders):
    panel = datasets.panel()
    tab = panel.tabs["import"]
    tab.path.value = str(class_folders)
    tab.look.click()
    tab.work.wait()
    busy = []

    def cancel(change):
        if "<progress" in change["new"]:
            busy.append((tab.look.disabled, tab.save.disabled, tab.work.cancel.disabled))
            tab.work.cancel.click()

    tab.work.progress.observe(cancel, "value")
    tab.save.click()
    tab.work.wait()
    assert busy[0] == (True, True, False)
    assert "Cancelled. Nothing was saved." in panel.message.value
    assert (datasets.list(), tab.save.disabled, tab.look.disabled) == ([], False, False)
    tab.work.progress.unobserve(cancel, "value")
    tab.save.click()
    tab.work.wait()
    assert panel.dataset.reference == f"{tab.name.value}@1"


def test_errors_are_said_in_words_and_the_form_stays(store, class_folders, tmp_path):
    panel = datasets.panel()
    tab = panel.tabs["import"]
    tab.path.value = str(tmp_path / "nowhere.zip")
    tab.look.click()
    tab.work.wait()
    assert 'role="alert"' in panel.message.value
    assert "There is no file or folder" in panel.message.value
    tab.path.value = str(class_folders)
    tab.look.click()
    tab.work.wait()
    assert len(tab.thumbnails.images) == 60
    tab.name.value = "Not A Name"
    tab.save.click()
    tab.work.wait()
    assert "cannot name a dataset" in panel.message.value
    tab.name.value = "digits"
    tab.save.click()
    tab.work.wait()
    assert panel.dataset.reference == "digits@1"
    assert len(rows_shown(panel)) == 120


def test_what_is_wrongly_recognised_can_be_corrected_though_it_cannot_be_looked_at(store, class_folders):
    (class_folders / "notes.json").write_text('{"annotations": 1, "categories": 2}')
    panel = datasets.panel()
    tab = panel.tabs["import"]
    tab.path.value = str(class_folders)
    tab.look.click()
    tab.work.wait()
    assert "notes.json is no COCO annotation" in panel.message.value
    assert (tab.way.label, tab.save.disabled, tab.thumbnails.layout.display) == (
        "pictures with boxes (COCO)",
        True,
        "none",
    )
    tab.way.label = "pictures in class folders"
    assert (panel.message.value.count("alert"), tab.save.disabled) == (0, False)
    tab.save.click()
    tab.work.wait()
    assert panel.dataset.class_names == tuple("0123456789")


def test_folders_of_splits_divide_what_is_imported(store, class_folders, tmp_path):
    for split, digits in (("train", 10), ("test", 2)):
        for folder in class_folders.iterdir():
            place = tmp_path / "divided" / split / folder.name
            place.mkdir(parents=True)
            for file in sorted(folder.iterdir())[-digits:]:
                file.rename(place / file.name)
    panel = datasets.panel()
    tab = panel.tabs["import"]
    tab.path.value = str(tmp_path / "divided")
    tab.look.click()
    tab.work.wait()
    assert "The folders train, validation and test divide them." in tab.note.value
    assert tab._shares.layout.display == "none"
    tab.save.click()
    tab.work.wait()
    assert panel.dataset.splits == {"train": 100, "test": 20}


def test_class_folders_of_texts_are_imported_too(store, tmp_path):
    for number in range(20):
        folder = tmp_path / "reviews" / ("good" if number % 2 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"This was number {number}.")
    panel = datasets.panel()
    tab = panel.tabs["import"]
    tab.path.value = str(tmp_path / "reviews")
    tab.look.click()
    tab.work.wait()
    assert "good/1.txt" in tab.found.value
    tab.save.click()
    tab.work.wait()
    assert (panel.dataset.kind, panel.dataset.class_names) == ("text", ("bad", "good"))
    assert rows_shown(panel)[0]["cells"]["text"]["text"].startswith("This was number")


def test_choosing_a_dataset_and_a_version_shows_it(digits, few_digits):
    digits.split(seed=1)
    panel = datasets.panel()
    panel.chooser.value = "digits"
    assert (panel.dataset.reference, front(panel)) == ("digits@2", "look")
    assert len(rows_shown(panel)) == 120
    panel.version.value = 1
    assert panel.dataset.reference == "digits@1"
    assert "digits@1" in panel.tabs["look"].summary.value
    panel.chooser.value = ""
    assert (panel.dataset, front(panel)) == (None, "import")
    panel.select("look")
    assert "Open a dataset above" in panel.nothing.value
    assert (panel.nothing.layout.display, panel.tabs["look"].layout.display) == (None, "none")
    panel.chooser.value = "digits"
    assert panel.tabs["look"].examples.dataset == "digits@2"


def test_only_the_tab_in_front_is_seen(digits):
    panel = datasets.panel("digits@1")
    assert panel.selector.titles == ["Import", "Look", "Check", "Label", "Prepare", "Versions"]
    assert (panel.tabs["import"].layout.display, panel.tabs["look"].layout.display) == ("none", None)
    panel.selector.selected = 0
    assert (panel.tabs["import"].layout.display, panel.tabs["look"].layout.display) == (None, "none")


def test_a_tab_is_filled_in_before_it_is_seen(digits):
    panel = datasets.panel("digits@1")
    versions, seen = panel.tabs["versions"], []
    versions.versions.observe(lambda _change: seen.append(versions.layout.display), "value")
    panel.selector.selected = list(panel.tabs).index("versions")
    assert (seen, versions.layout.display) == (["none"], None)


def test_versions_are_listed_compared_and_described(digits):
    digits.split(seed=1)
    panel = datasets.panel("digits@2")
    panel.select("versions")
    tab = panel.tabs["versions"]
    assert "split(train=0.8, validation=0.1, test=0.1, seed=1)" in tab.versions.value
    assert tab.other.value == 1
    tab.compare.click()
    assert "digits@1 → digits@2: 0 added, 0 removed" in tab.difference.value
    tab.description.value, tab.tags.value = "Digits <by hand>", "digits，mnist, "
    tab.write.click()
    assert (datasets.open("digits").card.description, datasets.open("digits").card.tags) == (
        "Digits <by hand>",
        ("digits", "mnist"),
    )
    assert "The card of digits is written." in panel.message.value
    tab.tags.value = "x" * 60
    tab.write.click()
    assert 'role="alert"' in panel.message.value


def test_a_damaged_dataset_is_said_in_words(digits, store):
    panel = datasets.panel()
    manifest = store / "digits" / "1" / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    panel.chooser.value = "digits"
    assert "is damaged" in panel.message.value


def test_the_panel_speaks_chinese(digits, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    panel = datasets.panel("digits")
    assert panel.chooser.description == "数据集"
    assert panel.selector.titles == ["导入", "查看", "检查", "标注", "处理", "版本"]
    assert "各类别样本数" in panel.tabs["look"].summary.value
    assert panel.tabs["import"].uploader.texts["choose"] == "选择文件"
    assert panel.tabs["look"].examples.texts["next"] == "下一页"


def test_what_a_cell_shows_of_the_panel_can_be_made(digits):
    """A method that takes the name of one of ipywidgets' own breaks it only here."""
    panel = datasets.panel("digits")
    assert "DatasetsPanel" in panel._repr_mimebundle_()["text/plain"]
    assert all(repr(widget) for tab in panel.tabs.values() for widget in tab.children)
