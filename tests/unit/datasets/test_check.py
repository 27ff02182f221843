"""The report of a check as data and as a page, and what a check does with odd data, limits, interrupts."""

import threading
from dataclasses import FrozenInstanceError

import numpy as np
import pyarrow as pa
import pytest
from armillary import datasets
from armillary.datasets.checking.findings import KINDS, Suggestion, meaning, merged, title
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.schemas import arrow_schema
from armillary.datasets.shards import write_shards
from armillary.datasets.splits import at_random
from armillary.errors import DatasetError


@pytest.fixture
def copied(store, few_digits):
    """Twelve of each digit, three of them twice."""
    x, y = few_digits
    return datasets.import_arrays(np.concatenate([x, x[:3]]), np.concatenate([y, y[:3]]), name="copied")


def test_a_report_is_plain_data(copied):
    report = datasets.check("copied@1")
    frame = report.to_pandas()
    assert list(frame.columns) == ["kind", "column", "rows", "score", "explanation", "advice"]
    copies = frame[frame["kind"].isin(["duplicate", "leak"])]
    assert sorted(copies["rows"]) == [(0, 120), (1, 121), (2, 122)]
    assert report.findings() == list(report.found)
    assert len(report) == len(frame)
    assert 0 <= frame["score"].min() <= frame["score"].max() <= 1
    suggested = {suggestion.row for finding in report.findings("leak") for suggestion in finding.suggestions}
    assert suggested <= {suggestion.row for suggestion in report.suggestions()}
    with pytest.raises(FrozenInstanceError):
        report.found[0].score = 0
    assert repr(report).startswith("<CheckReport copied@1: ")
    assert sum(report.totals.values()) == len(report)


def test_only_what_was_asked_for_is_looked_for(copied):
    report = datasets.check(copied, kinds=["duplicate", "leak"])
    assert {finding.kind for finding in report.findings()} <= {"duplicate", "leak"}
    assert report.kinds == ("leak", "duplicate")
    assert report.notes == ()
    with pytest.raises(DatasetError, match=r"There is no kind of finding 'copies'. Use leak, target_leak, "):
        datasets.check(copied, kinds=["copies"])
    with pytest.raises(DatasetError, match="There is no kind of finding 'copies'"):
        report.findings("copies")


def test_what_the_bytes_tell_is_found_without_decoding(copied, store, monkeypatch):
    rows = [{"text": text} for text in ["One and the same sentence.", "Another one of its own.", ""] * 2]
    texts = datasets.import_examples(rows, {"text": datasets.Value("string")}, "texts", split=None)
    whole = [datasets.check(each) for each in (copied, texts)]
    for place in ("media_parts._look", "texts.min_hash", "languages.language"):
        monkeypatch.setattr(f"armillary.datasets.checking.{place}", None)
    for each, report in zip((copied, texts), whole, strict=True):
        kinds = ("missing", "duplicate", "imbalance")
        found = datasets.check(each, kinds=kinds).findings()
        assert found == [finding for finding in report.findings() if finding.kind in kinds]
    assert [finding.rows for finding in found if finding.kind == "duplicate"] == [(0, 3), (1, 4)]


def test_an_interrupt_leaves_nothing(copied, store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    threads = threading.active_count()

    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.check(copied, progress=interrupted)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before
    assert threading.active_count() == threads


def test_progress_goes_to_the_end(copied):
    told = []
    datasets.check(copied, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _done, total in told} == {2 * len(copied)}
    assert told[-1][0] >= 0.99 * told[-1][1]


def test_no_more_than_the_limit_is_compared_and_that_is_said(copied):
    report = datasets.check(copied, limit=50)
    assert any("among 50 of 123 examples" in note for note in report.notes)
    copies = report.findings("duplicate") + report.findings("leak")
    assert len([finding for finding in copies if finding.score == 1]) == 3  # copies are looked for among all
    with pytest.raises(DatasetError, match="The limit is 0"):
        datasets.check(copied, limit=0)
    with pytest.raises(DatasetError, match=r"The seed is -1. Give a whole number"):
        datasets.check(copied, seed=-1)


def test_features_and_probabilities_of_ones_own(copied):
    labels = copied.labels(None)
    embeddings = np.eye(10)[labels] + np.random.default_rng(0).normal(0, 0.1, (len(labels), 10))
    embeddings[7] = np.eye(10)[(labels[7] + 1) % 10]
    (finding,) = datasets.check(copied, kinds=["label_error"], features=embeddings).findings()
    wanted = copied.class_names[(labels[7] + 1) % 10]
    assert finding.suggestions == (Suggestion(7, "relabel", wanted),)
    sure = np.full((len(labels), 10), 0.01)
    sure[np.arange(len(labels)), labels] = 0.91
    sure[7] = np.roll(sure[7], 1)
    (finding,) = datasets.check(copied, kinds=["label_error"], probabilities=sure).findings()
    assert finding.suggestions == (Suggestion(7, "relabel", wanted),)
    with pytest.raises(DatasetError, match=r"shape \(3, 2\). Give \(123, 10\)"):
        datasets.check(copied, probabilities=np.zeros((3, 2)))
    with pytest.raises(DatasetError, match=r"Give \(123, d\)"):
        datasets.check(copied, features=np.zeros((3, 2)))


def test_classes_that_a_small_model_cannot_tell_are_not_guessed_at(store):
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (200, 12, 12), dtype=np.uint8)
    report = datasets.check(datasets.import_arrays(noise, random.integers(0, 2, 200), name="noise"))
    assert report.findings("label_error") == []
    assert any("Give features= or probabilities=." in note for note in report.notes)
    assert "label_error" not in report.kinds


def saved_unchecked(rows, features, name):
    """Save rows that no import would let in, as another program or a damaged disk might leave them."""

    def place(folder):
        schema = arrow_schema(features)
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
        return Placed(shards=write_shards(folder, schema, [batch]), split=at_random(len(rows), None, 0), labels=None)

    return datasets.Dataset(save(name, Content(features=features, target=None, place=place, recipe=(), source="")))


def test_files_that_cannot_be_decoded_are_broken(store, png):
    whole = [{"photo": {"bytes": png((20, 20), number), "path": None}} for number in range(5)]
    spoilt = [
        {"photo": {"bytes": png((400, 300), 9)[:-200], "path": "cut.png"}},
        {"photo": {"bytes": b"no picture", "path": "text.png"}},
        {"photo": None},
    ]
    report = datasets.check(saved_unchecked(whole + spoilt, {"photo": datasets.Image()}, "spoilt"))
    assert [finding.rows for finding in report.findings("broken")] == [(5,), (6,)]
    assert "It cannot be decoded: it is no picture in a known format." in report.findings("broken")[1].explanation
    assert [finding.rows for finding in report.findings("missing")] == [(7,)]
    page = report._repr_html_()
    assert page.count("damaged") >= 2


@pytest.mark.parametrize("kind", [datasets.Audio(), datasets.Video()])
def test_broken_sounds_and_videos_are_found(store, kind):
    rows = [{"it": {"bytes": b"RIFFnonsense" * 9, "path": None}}, {"it": {"bytes": b"\0\0\0 ftypisom", "path": None}}]
    report = datasets.check(saved_unchecked(rows, {"it": kind}, "noise"))
    assert [finding.rows for finding in report.findings("broken")] == [(0,), (1,)]
    assert report._repr_html_()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_examples_are_checked_like_many(store, rows):
    features = {"text": datasets.Value("string"), "n": datasets.Value("int64"), "kind": datasets.ClassLabel(("a", "b"))}
    examples = [{"text": "a word or two of text", "n": 1, "kind": "a"}] * rows
    ds = datasets.import_examples(examples, features, "few", target="kind", split=None)
    report = datasets.check(ds)
    assert [finding.rows for finding in report.findings("duplicate")] == ([tuple(range(rows))] if rows > 1 else [])
    assert report._repr_html_()


KIND = {"kind": datasets.ClassLabel(("a", "b", "c"))}


@pytest.mark.parametrize("different", [1, 2, 4])
def test_classes_of_few_different_examples_are_not_learnt(store, different):
    """Copies stay on one side of a split: there were fewer examples than sides, which ended in a traceback."""
    examples = [{"text": f"the same text always, {row % different}", "kind": "ab"[row % 2]} for row in range(60)]
    ds = datasets.import_examples(
        examples, {"text": datasets.Value("string"), **KIND}, "few", target="kind", split=None
    )
    report = datasets.check(ds)
    assert "label_error" not in report.kinds
    assert "Wrong classes were not looked for: fewer than two have 5 different examples." in report.notes


def test_a_class_of_copies_alone_is_not_taken_for_wrong(store):
    """No model had seen it when it was asked for it, so that every copy seemed to be of another class."""
    plain = [
        {"text": f"{word} " * 5 + str(row), "kind": kind}
        for row in range(30)
        for word, kind in (("x", "a"), ("y", "b"))
    ]
    copies = [{"text": "x x x x x y", "kind": "c"}] * 20
    features = {"text": datasets.Value("string"), **KIND}
    ds = datasets.import_examples(plain + copies, features, "copies", target="kind", split=None)
    report = datasets.check(ds)
    assert "label_error" in report.kinds
    assert report.findings("label_error") == []


def test_features_of_examples_that_have_nothing_else(store):
    rows = [{"id": row, "kind": "ab"[row % 2]} for row in range(60)]
    ds = datasets.import_examples(rows, {"id": datasets.Value("int64"), **KIND}, "ids", target="kind", split=None)
    told = np.random.default_rng(0).normal(size=(60, 2)) + 9 * np.arange(60)[:, None] % 2
    assert "label_error" in datasets.check(ds, features=told).kinds


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": [[np.nan]] * 123}, "Some of the features are no finite numbers"),
        ({"features": [[1e300]] * 123}, "Some of the features are no finite numbers"),
        ({"features": [["x"]] * 123}, "Some of the features are no finite numbers"),
        ({"probabilities": [[np.nan] * 10] * 123}, "Some of the probabilities are negative, or no finite numbers"),
        ({"probabilities": [[-0.1] * 10] * 123}, "Some of the probabilities are negative, or no finite numbers"),
    ],
)
def test_numbers_of_ones_own_that_are_none_are_refused(copied, options, said):
    with pytest.raises(DatasetError, match=said):
        datasets.check(copied, **options)


def test_words_with_labels_and_boxes_are_checked_for_copies(store, png):
    features = {
        "words": datasets.Sequence(datasets.Value("string")),
        "tags": datasets.TokenLabels(("other", "name")),
        "photo": datasets.Image(),
        "things": datasets.Boxes(("cat", "dog")),
    }
    example = {
        "words": ["Ada", "lives", "in", "London"],
        "tags": ["name", "other", "other", "name"],
        "photo": png((30, 20), 7),
        "things": {"bbox": [[1, 2, 3, 4]], "category": ["cat"]},
    }
    other = {**example, "words": ["Alan", "lives", "in", "Manchester"], "photo": png((30, 20), 200)}
    report = datasets.check(datasets.import_examples([example, other, example], features, "tags", split=None))
    assert [finding.rows for finding in report.findings("duplicate")] == [(0, 2)]
    assert "Boxes and labels of words are not checked for wrong classes." in report.notes


def test_what_a_dataset_holds_is_shown_as_text_never_as_markup(store):
    evil = "<script>alert(1)</script> words enough to be a text, and then some more of them"
    features = {"text": datasets.Value("string"), "kind": datasets.ClassLabel(("<b>a</b>", "b"))}
    rows = [{"text": evil, "kind": "<b>a</b>"}, {"text": evil, "kind": "b"}]
    page = datasets.check(datasets.import_examples(rows, features, "evil", target="kind", split=None))._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<b>" not in page


def test_a_report_in_chinese(copied, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    report = datasets.check(copied)
    assert "相同的样本出现 2 次" in report.to_pandas()["explanation"].str.cat()
    page = report._repr_html_()
    assert "copied@1 的检查结果" in page
    assert all(title(kind) in page for kind in report.kinds)


def test_each_kind_has_a_name_and_a_meaning():
    assert len({title(kind) for kind in KINDS}) == len({meaning(kind) for kind in KINDS}) == len(KINDS)


def test_suggestions_for_one_row_become_one_and_removing_wins():
    relabel, remove = Suggestion(3, "relabel", "a"), Suggestion(3, "remove")
    assert merged([relabel, Suggestion(1, "remove"), remove, Suggestion(3, "relabel", "b")]) == [
        Suggestion(1, "remove"),
        remove,
    ]
    assert merged([relabel, Suggestion(3, "relabel", "b")]) == [relabel]
