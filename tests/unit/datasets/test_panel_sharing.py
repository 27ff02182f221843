"""What others share, in the panel: opened beside one's own, said whose it is, copied; one's own is shared there."""

import pytest
from armillary import datasets
from armillary.datasets import Value
from armillary.errors import DatasetError
from support.solo_people import variables_of


@pytest.fixture
def be(tmp_path, monkeypatch):
    """Become a person of a solo deployment, by name."""
    people = variables_of(tmp_path / "home")

    def become(name):
        for variable, value in people[name].items():
            monkeypatch.setenv(variable, value)

    become("ann")
    return become


def texts(name="texts", word="text"):
    rows = [{"text": f"{word} {row}"} for row in range(20)]
    return datasets.import_examples(rows, {"text": Value("string")}, name)


def test_a_version_is_shared_and_no_longer_shared(be):
    panel = datasets.panel(texts())
    panel.select("versions")
    form = panel.tabs["versions"].sharing
    assert [box.description for box in form.boxes.values()] == ["everyone", "the group vision"]
    assert "nobody but its owner" in form.told.value
    assert "this is a label, not a protection" in form.told.value
    form.boxes["vision"].value = True
    form.share.click()
    assert "texts@1 is shared with the group vision." in panel.message.value
    assert datasets.access("texts@1").groups == ("vision",)
    form.boxes["vision"].value = False
    form.share.click()
    assert "texts@1 is no longer shared." in panel.message.value
    assert datasets.access("texts@1").groups == ()


def test_anothers_dataset_is_opened_beside_ones_own_and_copied(be):
    first = texts()
    datasets.describe("texts", "Twenty texts.", ["short"])
    datasets.share(first, with_="everyone")
    datasets.share(first.split(seed=5), with_="group:vision")
    be("cleo")
    mine = texts(word="mine")
    panel = datasets.panel()
    assert [value for _title, value in panel.chooser.options] == ["", "texts", "ann/texts"]
    assert panel.shared.layout.display == "none"
    panel.chooser.value = "ann/texts"
    assert (panel.dataset.reference, panel.version.options) == ("ann/texts@2", (2, 1))
    assert panel.shared.layout.display is None
    assert "ann shares this dataset; only ann can change it." in panel.shared.told.value
    panel.version.value = 1
    assert panel.dataset.reference == "ann/texts@1"
    panel.select("versions")
    tab = panel.tabs["versions"]
    assert (tab._card.layout.display, tab.sharing.share.layout.display) == ("none", "none")
    assert "ann/texts@1 can be read by: everyone." in tab.sharing.told.value
    panel.shared.name.value = "theirs"
    panel.shared.copy.click()
    assert (panel.dataset.reference, panel.dataset.owner, panel.chooser.value) == ("theirs@1", None, "theirs")
    assert panel.shared.layout.display == "none"
    assert datasets.open("theirs").card.description == "Twenty texts."
    assert datasets.open("texts").to_pandas().equals(mine.to_pandas())


def test_versions_of_anothers_are_compared_with_each_other(be):
    first = texts()
    datasets.share(first, with_="everyone")
    datasets.share(first.split(seed=5), with_="everyone")
    be("bob")
    panel = datasets.panel("ann/texts@2")
    panel.select("versions")
    panel.tabs["versions"].compare.click()
    assert "ann/texts@1 → ann/texts@2" in panel.tabs["versions"].difference.value


def test_the_bar_names_the_projects_one_can_help_in(be):
    shared = texts()
    datasets.share(shared, with_="everyone")
    datasets.labelling.create(shared, "moods", "mood", classes=["good", "bad"])
    be("bob")
    assert "Under Label, you can help in: moods." in datasets.panel("ann/texts").shared.told.value


def test_a_copy_stays_when_the_other_is_gone(be):
    rows = [{"text": f"text {row}", "mood": row % 2} for row in range(20)]
    features = {"text": Value("string"), "mood": datasets.ClassLabel(("bad", "good"))}
    theirs = datasets.import_examples(rows, features, "moods", target="mood")
    datasets.share(theirs, with_="everyone")
    be("bob")
    copied = datasets.copy("ann/moods@1")
    assert (copied.reference, copied.manifest.parent, copied.splits) == ("moods@1", "ann/moods@1", theirs.splits)
    assert datasets.copy("ann/moods@1").reference == "moods@1"  # the same again saves nothing
    with pytest.raises(DatasetError, match="is taken by a dataset with other columns"):
        datasets.copy("ann/moods", texts().name)
    be("ann")
    datasets.share("moods", with_="nobody")
    be("bob")
    assert datasets.open("moods").to_pandas().equals(copied.to_pandas())
    assert datasets.open("moods").class_counts.equals(theirs.class_counts)


def test_outside_a_deployment_nothing_is_said_of_sharing(digits, monkeypatch):
    monkeypatch.delenv("ARMILLARY_SHARED_DATASETS", raising=False)
    panel = datasets.panel(digits)
    panel.select("versions")
    assert panel.tabs["versions"].sharing.layout.display == "none"
