"""Sharing, as one account alone can see it: what is shared with whom, by which name it is opened, what is refused.

That the file system keeps others out and nobody but the owner writes is in tests/integration/test_isolation.py.
"""

import hashlib
import json

import datasets as hf
import pytest
from armillary import datasets
from armillary.datasets import Value, sharing
from armillary.errors import DatasetError
from armillary_hub.accounts.shared_folders import keep_in_step
from armillary_hub.settings import Settings


@pytest.fixture
def be(tmp_path, monkeypatch):
    """Become a person of a solo deployment, by name."""
    settings = Settings(tmp_path / "home")
    settings.make_folders()
    for name, groups in {"ann": ["everyone", "vision"], "bob": ["everyone"], "cleo": ["everyone", "vision"]}.items():
        keep_in_step(settings, name, groups)
    monkeypatch.setenv("ARMILLARY_SHARED_DATASETS", str(settings.shared_dir))

    def become(name):
        monkeypatch.setenv("JUPYTERHUB_USER", name)
        monkeypatch.setenv("ARMILLARY_DATASETS", str(settings.users_dir / name / "datasets"))

    (settings.users_dir / "ann").mkdir()
    become("ann")
    return become


def texts(name="texts", word="text"):
    rows = [{"text": f"{word} {row}"} for row in range(20)]
    return datasets.import_examples(rows, {"text": Value("string")}, name)


def test_a_version_is_shared_with_a_group_and_withdrawn(be):
    mine = texts()
    assert datasets.access(mine).groups == ()
    assert str(datasets.share(mine, with_="group:vision")).startswith("texts@1 can be read by: vision.")
    be("bob")
    assert datasets.shared() == []
    with pytest.raises(DatasetError, match=r"'ann' shares no dataset 'texts@1' with you. datasets.shared\(\) lists"):
        datasets.open("ann/texts@1")
    be("cleo")
    (line,) = datasets.shared()
    assert (line.reference, line.owner, line.groups, line.info.examples) == ("ann/texts@1", "ann", ("vision",), 20)
    theirs = datasets.open("ann/texts")
    assert (theirs.reference, theirs.owner) == ("ann/texts@1", "ann")
    assert theirs.to_pandas().equals(mine.to_pandas())
    assert [name for (name,) in theirs.to_pandas().head(1).values.tolist()] == ["text 0"]
    be("ann")
    assert datasets.share("texts@1", with_="nobody").groups == ()
    be("cleo")
    assert datasets.shared() == []
    with pytest.raises(DatasetError, match="shares no dataset"):
        datasets.open("ann/texts")


def test_sharing_says_who_and_replaces_who_could(be):
    texts()
    assert datasets.share("texts", with_=["group:vision", "everyone"]).groups == ("everyone", "vision")
    assert datasets.share("texts", with_="everyone").groups == ("everyone",)
    be("bob")
    assert datasets.open("ann/texts@1").owner == "ann"
    assert datasets.access("ann/texts@1").groups == ("everyone",)


def test_one_account_for_all_is_said(be):
    told = str(datasets.share(texts(), with_="everyone"))
    assert told.endswith("All people of this deployment are one account: this is a label, not a protection.")
    assert not datasets.access("texts").enforced


def test_what_is_made_of_anothers_dataset_is_ones_own(be):
    texts()
    datasets.describe("texts", "Twenty texts.", ["short"])
    datasets.share("texts", with_="everyone")
    be("bob")
    theirs = datasets.open("ann/texts")
    assert theirs.card.description == "Twenty texts."
    own = theirs.split(seed=3)
    assert (own.reference, own.owner, own.manifest.parent) == ("texts@1", None, "ann/texts@1")
    assert datasets.lineage(own).ancestors == ("ann/texts@1",)
    for change in (lambda: datasets.share("ann/texts", with_="everyone"), lambda: datasets.delete("ann/texts@1")):
        with pytest.raises(DatasetError):
            change()
    assert datasets.open("ann/texts@1").manifest == theirs.manifest


def test_a_shared_version_is_not_deleted(be):
    texts()
    datasets.share("texts@1", with_="everyone")
    with pytest.raises(DatasetError, match=r'shared with everyone\. Withdraw it first: .*share\("texts@1", "nobody"\)'):
        datasets.delete("texts@1")
    datasets.share("texts@1", with_="nobody")
    datasets.delete("texts@1")


def test_each_version_has_its_own_readers(be):
    first = texts()
    second = first.split(seed=5)
    datasets.share(first, with_="everyone")
    datasets.share(second, with_="group:vision")
    be("bob")
    assert datasets.open("ann/texts").version == 1
    with pytest.raises(DatasetError, match="shares no dataset 'texts@2'"):
        datasets.open("ann/texts@2")
    be("cleo")
    assert datasets.open("ann/texts").version == 2
    assert datasets.open("ann/texts@1").version == 1


def test_the_same_again_changes_nothing_and_another_of_the_name_is_refused(be, tmp_path, monkeypatch):
    datasets.share(texts(), with_="everyone")
    assert datasets.share("texts", with_="everyone").groups == ("everyone",)
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "another"))
    with pytest.raises(DatasetError, match=r"Another dataset was shared as texts@1"):
        datasets.share(texts(word="other"), with_="everyone")


@pytest.mark.parametrize(
    ("with_", "said"),
    [
        ("group:nosuch", r"You do not belong to the group 'nosuch'; your groups: everyone, vision"),
        ("vision", r'\'vision\' is nobody whom a dataset can be shared with. Write "group:NAME"'),
        ("group:", r"nobody whom"),
        ([], r"nobody whom"),
        (["nobody", "everyone"], r"nobody whom"),
    ],
)
def test_who_is_no_group_is_refused(be, with_, said):
    texts()
    with pytest.raises(DatasetError, match=said):
        datasets.share("texts", with_=with_)
    assert datasets.access("texts").groups == ()


def test_outside_a_deployment_there_is_no_place(store, monkeypatch):
    monkeypatch.delenv("ARMILLARY_SHARED_DATASETS", raising=False)
    texts()
    assert datasets.shared() == []
    with pytest.raises(DatasetError, match="There is no place for shared datasets here"):
        datasets.share("texts", with_="everyone")


def test_who_leaves_a_group_no_longer_sees_its_datasets(be, tmp_path):
    datasets.share(texts(), with_="group:vision")
    keep_in_step(Settings(tmp_path / "home"), "cleo", ["everyone"])
    be("cleo")
    assert datasets.shared() == []


def test_who_has_withdrawn_all_and_leaves_a_group_is_out_of_it(be, tmp_path):
    datasets.share(texts(), with_="group:vision")
    datasets.share("texts", with_="nobody")
    keep_in_step(Settings(tmp_path / "home"), "ann", ["everyone"])
    with pytest.raises(DatasetError, match=r"You do not belong to the group 'vision'; your groups: everyone"):
        datasets.share("texts", with_="group:vision")


def forge(folder, **changes):
    """Rewrite the manifest of a shared version, as its owner can."""
    path = folder / "manifest.json"
    path.chmod(0o644)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_forged_manifest_writes_no_file_of_whoever_uses_it(be, tmp_path):
    datasets.share(texts(), with_="everyone")
    version = datasets.open("ann/texts@1").folder
    inner = tmp_path / "of-ann/a/b/c"
    inner.mkdir(parents=True)
    (inner / "x").write_bytes(b"x")
    (tmp_path / "of-ann/planted").write_bytes(b"echo planted")
    (version / "sub").symlink_to(inner)
    paths = ("sub/x", "sub/../../../planted")
    assert (version / paths[1]).is_file()
    media = [
        {"file": path, "rows": 1, "bytes": 1, "sha256": hashlib.sha256((version / path).read_bytes()).hexdigest()}
        for path in paths
    ]
    forge(version, media=media)
    be("bob")
    with pytest.raises(DatasetError, match=r"manifest.json is damaged: 'sub/../../../planted' is no file of a version"):
        datasets.open("ann/texts@1").split(seed=3)
    assert not list(tmp_path.rglob("bob/**/planted"))


@pytest.mark.parametrize(
    "damage",
    [
        {"target": "nosuch"},
        {"name": "../texts"},
        {"version": "1"},
        {"splits": [20]},
        {"created": None},
        {"split_file": {"file": "split.parquet", "rows": 20, "bytes": 1, "sha256": "../../x"}},
    ],
)
def test_one_damaged_manifest_does_not_spoil_the_list_of_all(be, damage):
    datasets.share(texts(), with_="everyone")
    datasets.share(texts("others"), with_="everyone")
    forge(datasets.open("ann/texts@1").folder, **damage)
    be("bob")
    assert [line.reference for line in datasets.shared()] == ["ann/others@1"]
    with pytest.raises(DatasetError, match=r"manifest.json is damaged"):
        datasets.open("ann/texts@1")


def test_a_split_with_the_name_of_a_path_stays_in_the_cache(be, tmp_path, monkeypatch):
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    rows = hf.Dataset.from_dict({"text": ["a", "b"]})
    mine = datasets.from_huggingface(hf.DatasetDict({"../../../planted": rows, "train": rows}), "texts")
    assert sorted(datasets.to_huggingface(mine)) == ["../../../planted", "train"]
    assert not (tmp_path / "planted.arrow").exists()


def test_a_card_that_changed_is_shared_again(be):
    mine = texts()
    datasets.share(mine, with_="everyone")
    datasets.describe("texts", "Twenty texts.")
    datasets.share(mine, with_="everyone")
    be("bob")
    theirs = datasets.open("ann/texts")
    assert theirs.card.description == "Twenty texts."
    assert [path.name for path in theirs.folder.parent.glob("*card*")] == ["card.json"]


def test_withdrawing_leaves_a_version_that_has_just_come(be, monkeypatch):
    first = texts()
    second = first.split(seed=5)
    datasets.share(first, with_="everyone")
    folder = datasets.open("ann/texts@1").folder.parent
    seen = sharing.versions

    def publish_meanwhile(*place):
        found = seen(*place)
        monkeypatch.setattr(sharing, "versions", seen)
        datasets.share(second, with_="everyone")
        return found

    monkeypatch.setattr(sharing, "versions", publish_meanwhile)
    datasets.share(first, with_="nobody")
    assert (folder / "2/manifest.json").is_file()


def test_the_lineage_of_a_shared_version_is_its_owners_and_ones_own(be):
    second = texts().split(seed=5)
    for version in ("texts@1", "texts@2"):
        datasets.share(version, with_="everyone")
    own = datasets.open("ann/texts@2").split(seed=6)
    assert datasets.lineage(own).ancestors == (second.reference, "texts@1")
    be("bob")
    made = datasets.open("ann/texts@2").split(seed=7)
    found = datasets.lineage("ann/texts@2")
    assert (found.ancestors, found.descendants) == (("ann/texts@1",), (made.reference,))


def test_what_was_made_of_the_shared_copy_of_ones_own_keeps_it(be):
    texts()
    datasets.share("texts@1", with_="everyone")
    datasets.open("ann/texts@1").split(seed=5)
    datasets.share("texts@1", with_="nobody")
    with pytest.raises(DatasetError, match=r"texts@1 cannot be deleted: texts@2 refer to it"):
        datasets.delete("texts@1")
