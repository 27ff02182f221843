"""Labelling by several people: who labels what, how far they agree, what comes of it, and who may write what."""

import json
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Boxes, ClassLabel, Image, Sequence, TokenLabels, Value, labelling
from armillary.datasets.features import spans_feature
from armillary.datasets.labelling.agreement import agreement, krippendorff_alpha, mean_iou, span_f1
from armillary.datasets.labelling.assignment import assign
from armillary.datasets.labelling.consensus import majority
from armillary.datasets.labelling.tasks import Task
from armillary.errors import DatasetError


@pytest.fixture
def as_person(monkeypatch):
    """Returns a function that opens a project as one of several people."""

    def opened(who, dataset="digits", name="labels"):
        monkeypatch.setenv("JUPYTERHUB_USER", who)
        return labelling.open_project(dataset, name)

    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    return opened


# Who labels what --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "overlap"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (3, 3)])
def test_each_row_goes_to_as_many_people_as_wished_and_all_have_as_much_to_do(people, overlap):
    names = [f"p{number}" for number in range(people)]
    queues = assign(range(10, 110), names, overlap, seed=3)
    counts = np.bincount(np.concatenate(list(queues.values())), minlength=110)
    assert set(counts[10:]) == {overlap}
    assert not counts[:10].any()
    sizes = [len(queue) for queue in queues.values()]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(set(queue.tolist())) == len(queue) for queue in queues.values())
    again = assign(range(10, 110), names, overlap, seed=3)
    assert {name: queue.tolist() for name, queue in queues.items()} == {n: q.tolist() for n, q in again.items()}


def test_every_two_people_share_rows_so_that_they_can_be_compared():
    queues = {name: set(queue.tolist()) for name, queue in assign(range(60), list("abcd"), 2, seed=0).items()}
    assert all(queues[one] & queues[other] for one in "abcd" for other in "abcd")


def test_where_nobody_is_named_rows_go_to_who_comes(digits, as_person):
    project = labelling.create("digits", overlap=2, rows=range(10))
    assert sorted(project.queue()) == list(range(10))
    for row in (3, 4):
        project.answer(row, "0")
    bo = as_person("bo")
    assert set(bo.queue()[:2]) == {3, 4}, "what others have begun comes first"
    bo.answer(3, "1")
    cy = as_person("cy")
    assert 3 not in cy.queue(), "two people are enough"
    assert bo.queue()[0] == 3, "one's own answers stay"


# Answers ----------------------------------------------------------------------------------------------


def test_people_label_agree_and_save_a_version(digits, as_person):
    project = labelling.create("digits@1", people=["ada", "bo"], overlap=2, rows=range(6), seed=1)
    assert sorted(project.queue()) == sorted(project.queue("bo")) == list(range(6))
    given = {"ada": "012345", "bo": "012399"}
    for who, labels in given.items():
        one = as_person(who)
        for row, label in enumerate(labels):
            one.answer(row, label, seconds=1.5)
    project = as_person("ada")
    assert project.progress().to_numpy().tolist() == [["ada", 6, 6, 0, 1.5], ["bo", 6, 6, 0, 1.5]]
    agreed = project.agreement()
    assert (agreed.measure, agreed.rows, len(agreed.pairs)) == ("alpha", 6, 1)
    assert str(agreed) == f"Krippendorff's alpha {agreed.value:.2f} over 6 examples"
    assert len(project.to_pandas()) == 12

    consensus = project.consensus()
    assert consensus.answers == {0: "0", 1: "1", 2: "2", 3: "3"}
    assert consensus.ties == {4: {"ada": "4", "bo": "9"}, 5: {"ada": "5", "bo": "9"}}
    project.decide(4, "9")
    with pytest.raises(DatasetError, match=r"bo does not decide in labels. Ask ada, who made it"):
        as_person("bo").decide(5, "9")
    project = as_person("ada")
    assert project.consensus().answers[4] == "9"

    edits = project.to_edits()
    new = edits.save()
    assert (new.reference, new.manifest.parent) == ("digits@2", "digits@1")
    assert new.labels(None)[:6].tolist() == [0, 1, 2, 3, 9, digits.labels(None)[5]]
    assert new.manifest.recipe[-1]["sources"] == ["labelling labels: ada, bo"]


def test_a_later_answer_stands_and_none_takes_it_back(digits, as_person):
    project = labelling.create(digits, rows=[0, 1, 2])
    for answer in ("1", "2", None):
        project.answer(0, answer)
    project.answer(1, "7")
    project.answer(1, "8")
    project.skip(2)
    answers = project.answers()["ada"]
    assert (answers.given, answers.skipped, answers.done) == ({1: "8"}, {2}, {1, 2})
    project.answer(2, "3")
    assert project.answers()["ada"].skipped == set()
    assert project.consensus().answers == {1: "8", 2: "3"}
    assert project.consensus().unfinished == (0,)


def test_a_name_with_dashes_is_nobody_elses(digits, as_person):
    labelling.create("digits", people=["mary", "mary--ann"], overlap=2, rows=range(3))
    as_person("mary--ann").answer(0, "1")
    assert {who: given.given for who, given in as_person("mary").answers().items()} == {"mary--ann": {0: "1"}}


def test_a_line_nested_without_end_is_none_and_harms_nobody(digits, as_person):
    project = labelling.create("digits", rows=range(3))
    project.answer(0, "1")
    with (project.folder / "answers" / "ada.jsonl").open("a") as file:
        file.write('{"row": 0, "answer": ' + "[" * 200_000 + "\n")
    assert project.answers()["ada"].given == {0: "1"}


@pytest.mark.parametrize("side", [1e308, float("inf"), float("nan"), 2.0**31])
def test_boxes_beyond_all_pictures_are_refused(side):
    with pytest.raises(DatasetError, match="is no answer to 'trees'"):
        Task("boxes", "trees", ("tree",), "image").checked([{"label": "tree", "box": [0, 0, side, side]}])


def test_an_answer_that_does_not_fit_leaves_the_edits_as_they_were(store, as_person):
    ds = datasets.import_examples([{"words": ["a", "b"]}], {"words": Sequence(Value("string"))}, "words", split=None)
    project = labelling.create(ds, column="names", classes=["person"], kind="spans")
    beyond = [{"label": "person", "start": 1, "end": 9}]
    for give in (project.answer, project.decide):
        with pytest.raises(DatasetError, match=r"'names': a mark ends at 9, the text at 2. Mark it again"):
            give(0, beyond)
    project.answer(0, [])
    with (project.folder / "answers" / "ada.jsonl").open("a") as file:
        file.write(json.dumps({"row": 0, "answer": beyond}) + "\n")
    with pytest.raises(DatasetError, match="'names': a mark ends at 9, the text at 2"):
        project.to_edits()
    assert not datasets.edit(ds).summary


def test_marks_end_where_their_text_does(store, as_person):
    ds = datasets.import_examples([{"text": "x0"}, {"text": None}], {"text": Value("string")}, "texts", split=None)
    project = labelling.create(ds, column="spans", classes=["X"], kind="spans")
    for row, end in ((0, 99), (0, 3), (1, 1)):
        with pytest.raises(DatasetError, match=f"'spans': a mark ends at {end}, the text at {2 - 2 * row}"):
            project.answer(row, [{"start": 0, "end": end, "label": "X"}])
    project.answer(0, [{"start": 0, "end": 2, "label": "X"}])
    project.answer(1, [])
    edits = project.to_edits()
    for values in ({"text": None}, {"text": "x"}, {"spans": [{"start": 0, "end": 3, "label": "X"}]}):
        with pytest.raises(DatasetError, match="Row 0 of texts@1: 'spans': a mark ends at"):
            edits.set(0, values)
    edits.set(0, {"text": "x", "spans": []})
    edits.set(0, {"text": "longer", "spans": [{"start": 0, "end": 6, "label": "X"}]})
    assert edits.save("marked").take([0])[0] == {
        "text": "longer",
        "spans": [{"label": "X", "start": 0, "end": 6}],
    }


def test_an_answer_cut_off_by_the_end_is_none_and_the_next_is_whole(digits, as_person):
    project = labelling.create(digits)
    project.answer(0, "1")
    project.answer(1, "2")
    file = digits.folder.parent / ".labelling/labels/answers/ada.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert project.answers()["ada"].given == {0: "1"}
    project.answer(2, "3")
    assert project.answers()["ada"].given == {0: "1", 2: "3"}


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda p: p.answer(0, "ten"), "'ten' is no answer to 'label'. Choose among 0, 1, 2"),
        (lambda p: p.answer(99, "1"), "Row 99 of labels is not for ada"),
        (lambda p: p.to_edits(), "There is no consensus in labels yet"),
        (lambda p: p.to_edits(unlabelled="drop"), "unlabelled is 'drop'"),
        (lambda p: labelling.create("digits"), "digits has a labelling project 'labels' already"),
        (lambda p: labelling.create("digits", "../x"), "cannot name a labelling project"),
        (lambda p: labelling.create("digits", "b", people=["a"], overlap=2), "2 people cannot label each example: 1"),
        (lambda p: labelling.create("digits", "b", people="ann"), "people is 'ann'. Give the names in a list"),
        (lambda p: labelling.create("digits", "b", "new", classes="xy"), "classes is 'xy'. Give the names in a list"),
        (lambda p: labelling.create("digits", "b", rows=[120]), "digits@1 has not all of these rows"),
        (
            lambda p: labelling.create("digits", "b", "image"),
            "digits@1 has no column 'image' to label. Name one of label",
        ),
        (lambda p: labelling.create("digits", "b", "new", classes=["a", "a"]), "are not all different names"),
        (lambda p: labelling.create("digits", "b", "s", classes=["a"], kind="spans"), "has no one column for spans"),
        (lambda p: labelling.open_project("digits", "other"), "no labelling project 'other'; projects: labels"),
    ],
)
def test_what_does_not_fit_is_refused(digits, as_person, act, says):
    project = labelling.create("digits", rows=range(5))
    with pytest.raises(DatasetError, match=says):
        act(project)


def test_a_version_with_a_project_is_not_deleted(digits, as_person):
    labelling.create("digits@1", "round-1")
    with pytest.raises(DatasetError, match="digits@1 cannot be deleted: labelling project round-1 refer to it"):
        datasets.delete("digits@1")
    assert [project.name for project in labelling.projects("digits@1")] == ["round-1"]
    assert datasets.list()[0].versions == (1,)
    labelling.open_project("digits", "round-1").answer(0, "1")
    labelling.delete_project("digits", "round-1")
    assert labelling.projects("digits") == []
    datasets.delete("digits@1")


def test_a_project_stays_with_its_version(digits, as_person):
    labelling.create("digits@1")
    digits.split(seed=4)
    assert labelling.open_project("digits@2").dataset.reference == "digits@1"
    assert labelling.projects("digits@2") == []


def test_images_without_classes_become_a_dataset_with_them(store, png, as_person):
    rows = [{"image": png(color=shade)} for shade in range(6)]
    datasets.import_examples(rows, {"image": Image()}, "shades", split=None)
    project = labelling.create("shades", column="shade", classes=["dark", "darker"])
    for row in range(4):
        project.answer(row, ["dark", "darker"][row % 2])
    new = project.to_edits(unlabelled="remove").save("shades-labelled")
    assert (len(new), new.target, new.class_names) == (4, "shade", ("dark", "darker"))
    kept = project.to_edits()
    assert kept.target is None
    column = [row["shade"] for row in kept.save("shades-partly").iterate()]
    assert column == ["dark", "darker", "dark", "darker", None, None]


def test_a_store_elsewhere_keeps_answers_too(few_digits, monkeypatch, as_person, tmp_path):
    monkeypatch.setenv("ARMILLARY_DATASETS", f"memory://{tmp_path.name}")
    monkeypatch.setenv("ARMILLARY_EDITS", str(tmp_path / "edits"))
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    datasets.import_arrays(*few_digits, name="digits")
    labelling.create("digits", overlap=2, rows=[0, 1])
    for who in ("ada", "ada", "bo"):
        for row in range(2):
            as_person(who).answer(row, "7")
    project = as_person("ada")
    assert project.agreement().rows == 2
    assert project.to_edits().save().labels(None)[:2].tolist() == [7, 7]
    with pytest.raises(DatasetError, match="already"):
        labelling.create("digits")


# Accounts ---------------------------------------------------------------------------------------------


def run_as(account, act):
    """Do something as another Unix account; return what it returned or the error it raised."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(account[1])
            os.setuid(account[0])
            os.umask(0o077)
            result = act()
        except BaseException as error:
            result = error
        try:
            os.write(write, pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(data)


DAEMON, NOBODY = (1, 1), (65534, 65534)


@pytest.fixture
def shared_store(monkeypatch, few_digits):
    if os.geteuid() != 0:
        pytest.skip("other accounts can be used by root alone")
    root = Path(tempfile.mkdtemp(prefix="armillary-labelling-"))
    root.chmod(0o755)
    monkeypatch.setenv("ARMILLARY_DATASETS", str(root / "store"))
    monkeypatch.setenv("ARMILLARY_EDITS", str(root / "edits"))
    monkeypatch.setenv("JUPYTERHUB_USER", "root")
    datasets.import_arrays(*few_digits, name="digits")
    for folder in (root / "store", root / "store/digits", root / "store/digits/1"):
        folder.chmod(0o755)
    yield root / "store"
    shutil.rmtree(root)


def answer_as(account, who, row, label):
    def act():
        os.environ["JUPYTERHUB_USER"] = who
        labelling.open_project("digits").answer(row, label)
        return "answered"

    return run_as(account, act)


@pytest.mark.team
def test_other_accounts_add_their_own_answers_and_touch_no_others(shared_store):
    project = labelling.create("digits", overlap=3, rows=range(4))
    assert answer_as(DAEMON, "daemon", 0, "1") == "answered"
    assert answer_as(NOBODY, "nobody", 0, "1") == "answered"
    project.answer(0, "2")
    folder = shared_store / "digits/.labelling/labels/answers"
    assert {path.name: path.stat().st_uid for path in folder.iterdir()} == {
        "daemon.jsonl": 1,
        "nobody.jsonl": 65534,
        "root.jsonl": 0,
    }
    theirs = folder / "daemon.jsonl"
    for harm in (
        lambda: theirs.write_text(""),
        lambda: theirs.unlink(),
        lambda: theirs.rename(folder / "x"),
        lambda: (folder.parent / "project.json").write_text("{}"),
        lambda: (folder.parent / "more").mkdir(),
    ):
        assert isinstance(run_as(NOBODY, harm), PermissionError)
    refused = answer_as(NOBODY, "daemon", 1, "5")
    assert "daemon may not add answers" in str(refused)
    assert project.consensus().answers == {0: "1"}
    assert {who: given.given for who, given in project.answers().items()} == {
        "daemon": {0: "1"},
        "nobody": {0: "1"},
        "root": {0: "2"},
    }


@pytest.mark.team
def test_what_somebody_plants_for_others_does_not_count_and_does_no_harm(shared_store):
    project = labelling.create("digits", rows=range(4))
    folder = shared_store / "digits/.labelling/labels/answers"
    line = json.dumps({"row": 1, "answer": "9"}) + "\n"
    target = shared_store.parent / "precious"
    target.write_text("precious")
    target.chmod(0o666)

    def plant():
        (folder / "daemon.jsonl").write_text(line)
        (folder / "daemon.jsonl").chmod(0o666)
        (folder / "root.jsonl").symlink_to(target)
        os.mkfifo(folder / "sys.jsonl")

    assert run_as(NOBODY, plant) is None
    assert project.answers() == {}
    with pytest.raises(DatasetError, match=r"root may not add answers to .*answers. Ask the project's owner"):
        project.answer(0, "1")
    assert target.read_text() == "precious"
    assert "daemon may not add answers" in str(answer_as(DAEMON, "daemon", 0, "1"))
    for planted in ("daemon.jsonl", "root.jsonl", "sys.jsonl"):
        (folder / planted).unlink()
    nonsense = [
        {"row": 0, "answer": {"a": 1}},
        {"row": 99, "answer": "1"},
        {"row": 0, "answer": "eleven"},
        [],
        {"row": {}},
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in [*nonsense, {"row": 2, "answer": "1"}])
    assert run_as(NOBODY, lambda: (folder / "nobody.jsonl").write_text(text)) == len(text)
    assert run_as(NOBODY, lambda: (folder / "nobody.jsonl").chmod(0o644)) is None
    assert project.answers()["nobody"].given == {2: "1"}
    assert isinstance(run_as(NOBODY, lambda: labelling.delete_project("digits", "labels")), DatasetError)
    assert answer_as(DAEMON, "daemon", 0, "1") == "answered"


@pytest.mark.team
@pytest.mark.parametrize(
    ("version", "folder", "answers", "file"),
    [(0o700, 0o700, 0o1700, 0o600), (0o750, 0o2750, 0o3770, 0o640), (0o755, 0o2755, 0o3777, 0o644)],
)
def test_who_may_read_the_version_may_take_part(shared_store, version, folder, answers, file):
    (shared_store / "digits/1").chmod(version)
    os.chown(shared_store / "digits/1", 0, DAEMON[1])
    before = os.umask(0o077)
    try:
        labelling.create("digits").answer(0, "1")
    finally:
        os.umask(before)
    root = shared_store / "digits/.labelling"
    modes = [root / "labels", root / "labels/answers", root / "labels/answers/root.jsonl", root / "labels/project.json"]
    assert [path.stat().st_mode & 0o7777 for path in modes] == [folder, answers, file, file]
    if version != 0o700:
        assert modes[2].stat().st_gid == DAEMON[1]
    came = answer_as(DAEMON, "daemon", 1, "1")
    assert came == "answered" if version != 0o700 else isinstance(came, DatasetError | PermissionError)
    came = answer_as(NOBODY, "nobody", 1, "1")
    assert came == "answered" if version == 0o755 else isinstance(came, DatasetError | PermissionError)


# Tasks ------------------------------------------------------------------------------------------------

IOB = Task("spans", "tags", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), "words", "token")
PLAIN = Task("spans", "tags", ("O", "PER"), "words", "token")
POS = Task("spans", "tags", ("NOUN", "VERB"), "words", "token")


def test_tasks_are_found_by_the_features(store, png):
    features = {
        "image": Image(),
        "objects": Boxes(("cat", "dog")),
        "words": Sequence(Value("string")),
        "tags": TokenLabels(IOB.names),
        "text": Value("string"),
        "spans": spans_feature(("good",)),
        "label": ClassLabel(("no", "yes")),
    }
    example = {"image": png(), "words": ["a"], "tags": ["O"], "label": "no", "objects": {"bbox": [], "category": []}}
    ds = datasets.import_examples([example], features, "all", target="label", split=None)
    found = {column: labelling.task_of(ds, column) for column in ("label", "objects", "tags", "spans")}
    assert labelling.task_of(ds) == found["label"] == Task("classes", "label", ("no", "yes"))
    assert found["objects"] == Task("boxes", "objects", ("cat", "dog"), "image")
    assert found["tags"] == IOB
    assert found["spans"] == Task("spans", "spans", ("good",), "text")
    new = labelling.task_of(ds, "names", classes=["PER"], kind="spans", shown="words")
    assert (new.names, new.labels) == (("O", "B-PER", "I-PER"), ("PER",))
    assert all(task.feature == features[column] for column, task in found.items())


@pytest.mark.parametrize(
    ("task", "names", "spans"),
    [
        (IOB, ["O", "B-PER", "I-PER", "O", "B-LOC"], [("PER", 1, 3), ("LOC", 4, 5)]),
        (IOB, ["B-PER", "B-PER", "I-PER"], [("PER", 0, 1), ("PER", 1, 3)]),
        (IOB, [], []),
        (PLAIN, ["PER", "PER", "O", "PER"], [("PER", 0, 2), ("PER", 3, 4)]),
        (POS, ["NOUN", "VERB", "VERB"], [("NOUN", 0, 1), ("VERB", 1, 3)]),
    ],
)
def test_labels_of_tokens_are_spans_and_back(task, names, spans):
    answer = [{"label": label, "start": start, "end": end} for label, start, end in spans]
    assert task.answer_of(names) == answer
    assert task.value_of(task.checked(answer), names) == names


def test_spans_that_do_not_fit_are_refused():
    with pytest.raises(DatasetError, match="'tags': a mark ends at 3, the text at 2"):
        IOB.value_of([{"label": "PER", "start": 1, "end": 3}], ["a", "b"])
    with pytest.raises(DatasetError, match="'tags': token 2 has no label"):
        POS.value_of([{"label": "NOUN", "start": 0, "end": 1}], ["a", "b"])
    for bad in ([{"label": "X", "start": 0, "end": 1}], [{"label": "PER", "start": 1, "end": 1}], "PER", [5]):
        with pytest.raises(DatasetError, match="is no answer to 'tags'"):
            IOB.checked(bad)


def test_boxes_and_spans_are_labelled_together_and_saved(store, png, as_person):
    features = {"image": Image(), "objects": Boxes(("cat", "dog")), "words": Sequence(Value("string"))}
    features["tags"] = TokenLabels(IOB.names)
    example = {"image": png((40, 30)), "words": ["Ada", "Lovelace", "sings"], "tags": ["O"] * 3}
    datasets.import_examples([{**example, "objects": {"bbox": [], "category": []}}] * 2, features, "both", split=None)
    labelling.create("both", "boxes", "objects", overlap=2)
    labelling.create("both", "names", "tags", overlap=2)
    for shift, who in enumerate(("ada", "bo")):
        boxes = as_person(who, "both", "boxes")
        boxes.answer(0, [{"label": "cat", "box": [4 + shift, 4, 10, 10]}])
        boxes.answer(1, [] if shift else [{"label": "dog", "box": [0, 0, 5, 5]}])
        as_person(who, "both", "names").answer(0, [{"label": "PER", "start": 0, "end": 2}])
    assert boxes.agreement().value == pytest.approx((90 / 110 + 0) / 2)
    assert set(boxes.consensus().ties) == {1}
    names = as_person("ada", "both", "names")
    assert (names.agreement().value, str(names.agreement())) == (1.0, "span F1 1.00 over 1 examples")
    boxes.to_edits()
    new = names.to_edits().save()
    assert new.take([0])[0]["tags"] == ["B-PER", "I-PER", "O"]
    assert new.take([0])[0]["objects"] == {"bbox": [[4.5, 4.0, 10.0, 10.0]], "category": ["cat"]}
    assert new.take([1])[0]["objects"] == {"bbox": [], "category": []}


# Agreement and consensus ------------------------------------------------------------------------------

# The example of Krippendorff (2011), section C: four observers (lines), twelve units.
OBSERVERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


def test_alpha_is_that_of_krippendorffs_example():
    raters = [{unit: value for unit, value in enumerate(row) if value != "."} for row in OBSERVERS]
    assert krippendorff_alpha(raters) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_all_alike_of_chance_and_of_none():
    assert krippendorff_alpha([{0: "a", 1: "b"}, {0: "a", 1: "b"}]) == 1
    assert krippendorff_alpha([{0: "a"}, {0: "a"}]) == 1
    assert np.isnan(krippendorff_alpha([{0: "a"}, {1: "b"}]))
    random = np.random.default_rng(0).integers(0, 2, (2, 4000)).astype(str)
    assert abs(krippendorff_alpha([dict(enumerate(row)) for row in random])) < 0.05


def test_pairs_have_cohens_kappa():
    # 50 grants read by two people (Cohen's kappa = 0.4): yes/yes 20, yes/no 5, no/yes 10, no/no 15.
    one = ["y"] * 25 + ["n"] * 25
    other = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    found = agreement("classes", {"a": dict(enumerate(one)), "b": dict(enumerate(other)), "c": {0: "y"}})
    assert found.pairs.loc[0, "value"] == pytest.approx(0.4)
    assert found.pairs["rows"].tolist() == [50, 1, 1]
    assert found.pairs.loc[1, "value"] == 1
    assert str(agreement("classes", {"a": {0: "y"}})) == "No example was labelled twice yet."


def box(x, label="cat"):
    return {"label": label, "box": [x, 0, 10, 10]}


def test_boxes_are_matched_one_to_one():
    assert mean_iou([box(0)], [box(0)]) == 1
    assert mean_iou([box(0)], [box(5)]) == pytest.approx(50 / 150)
    assert mean_iou([box(0), box(30)], [box(30)]) == 0.5
    assert mean_iou([box(0)], [box(0, "dog")]) == 0
    assert (mean_iou([], []), mean_iou([box(0)], [])) == (1, 0)
    assert mean_iou([box(0), box(4)], [box(4), box(8)]) == pytest.approx((1 + 20 / 180) / 2)


def test_spans_count_when_they_are_the_same():
    one, other = [{"label": "A", "start": 0, "end": 2}], [{"label": "A", "start": 0, "end": 3}]
    assert span_f1([one, one], [one, other]) == 0.5
    assert (span_f1([[]], [[]]), span_f1([one], [[]])) == (1, 0)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("classes", ["a", "b", "a"], ("a", False)),
        ("classes", ["a", "b"], ("a", True)),
        ("classes", ["a"], ("a", False)),
        ("boxes", [[box(0)], [box(2)], [box(1), box(50)]], ([box(1)], False)),
        ("boxes", [[box(0)], []], ([], True)),
        ("boxes", [[box(0)], [box(0, "dog")]], ([box(0)], True)),
        ("boxes", [[], [], [box(0)]], ([], False)),
        ("spans", [[{"label": "A", "start": 0, "end": 2}]] * 2 + [[]], ([{"label": "A", "start": 0, "end": 2}], False)),
        ("spans", [[{"label": "A", "start": 0, "end": 2}], []], ([], True)),
    ],
)
def test_the_majority_counts_and_ties_are_told(kind, given, expected):
    assert majority(kind, given) == expected
