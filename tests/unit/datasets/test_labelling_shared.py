"""Labelling and editing what another person shares."""

import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Value, labelling
from armillary.errors import DatasetError
from armillary_hub.accounts.shared_folders import keep_in_step
from armillary_hub.settings import Settings


@pytest.fixture
def be(tmp_path, monkeypatch):
    """Become a person of a solo deployment, by name."""
    settings = Settings(tmp_path / "home")
    settings.make_folders()
    monkeypatch.setenv("ARMILLARY_SHARED_DATASETS", str(settings.shared_dir))

    def become(name):
        monkeypatch.setenv("JUPYTERHUB_USER", name)
        monkeypatch.setenv("ARMILLARY_DATASETS", str(settings.users_dir / name / "datasets"))
        monkeypatch.setenv("ARMILLARY_EDITS", str(settings.users_dir / name / "edits"))

    for name in ("ann", "bob"):
        keep_in_step(settings, name, ["everyone"])
        (settings.users_dir / name).mkdir()
    become("ann")
    features = {"text": Value("string"), "label": ClassLabel(("dull", "good"))}
    rows = [{"text": f"text {row}", "label": "dull"} for row in range(4)]
    ds = datasets.import_examples(rows, features, "texts", target="label", split=None)
    ds.folder.chmod(0o700)  # as a server's umask makes it
    return become


def test_what_is_labelled_together_is_shared_first(be, tmp_path):
    with pytest.raises(DatasetError, match=r"bob cannot read texts@1. Share it first: datasets.share\(\"texts@1\""):
        labelling.create("texts", people=["ann", "bob"])
    datasets.share("texts", with_="everyone")
    project = labelling.create("texts", people=["ann", "bob"], overlap=2)
    assert (tmp_path / "home") in project.folder.parents
    assert "shared" in project.folder.parts
    for row in range(4):
        project.answer(row, "good")
    be("bob")
    theirs = labelling.open_project("ann/texts")
    assert (theirs.dataset.reference, theirs.is_owner) == ("ann/texts@1", False)
    for row in range(3):
        theirs.answer(row, "good")
    own = theirs.to_edits().save()
    assert (own.reference, own.manifest.parent, own.labels(None).tolist()) == ("texts@1", "ann/texts@1", [1, 1, 1, 0])
    be("ann")
    assert labelling.open_project("texts").consensus().unfinished == (3,)
    assert [found.name for found in labelling.projects("texts@1")] == ["labels"]
    datasets.share("texts", with_="nobody")
    assert labelling.open_project("texts").agreement().rows == 3, "what people have answered is kept"
    assert labelling.open_project("texts").to_edits().save().reference == "texts@2"


def test_anothers_dataset_is_edited_into_ones_own(be):
    datasets.share("texts", with_="everyone")
    be("bob")
    edits = datasets.edit("ann/texts@1")
    edits.relabel(0, "good")
    (unsaved,) = datasets.unsaved_edits()
    assert (unsaved.reference, unsaved.file.name.startswith("ann~texts@1-")) == ("ann/texts@1", True)
    be("ann")
    datasets.share("texts", with_="nobody")
    be("bob")
    with pytest.raises(DatasetError, match=r"kept in .*ann~texts@1"):
        edits.save()
    del edits
    with pytest.raises(DatasetError, match=r"'ann' shares no dataset .* kept in .*ann~texts@1"):
        datasets.edit("ann/texts@1")
    be("ann")
    datasets.share("texts", with_="everyone")
    be("bob")
    saved = datasets.edit("ann/texts@1").save()
    assert (saved.reference, saved.owner, saved.labels(None).tolist()) == ("texts@1", None, [1, 0, 0, 0])
