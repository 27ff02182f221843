"""Pages of examples: which rows pass which filters, how far is read for them, and what is said of their values."""

import math
import os

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Boxes, ClassLabel, Image, Sequence, Struct, TokenLabels, Translation, Value
from armillary.datasets.browse import ANY_COLUMN, PAGE, Filters, Pages, page
from armillary.datasets.browse.cells import LONGEST_TEXT, cells_of, columns_of
from armillary.datasets.browse.charts import chart
from armillary.datasets.browse.histograms import histogram
from armillary.datasets.reading.row_groups import RowGroups
from armillary.errors import DatasetError

FEATURES = {
    "text": Value("string"),
    "number": Value("float64"),
    "label": ClassLabel(("no", "yes")),
    "image": Image(),
    "words": Sequence(Value("string")),
    "tags": TokenLabels(("O", "PERSON")),
    "objects": Boxes(("cat", "dog")),
    "pair": Translation(("en", "zh")),
    "some": Translation(("de", "en"), variable=True),
    "part": Struct((("a", Value("float64")), ("b", Value("string")))),
}
FULL = {
    "text": "A Bird",
    "number": 0.5,
    "label": "yes",
    "words": ["Ada", "sings"],
    "tags": ["PERSON", "O"],
    "objects": {"bbox": [[0.0, 1.0, 2.0, 3.0]], "category": ["dog"]},
    "pair": {"en": "tree", "zh": "树"},
    "some": {"language": ["de", "en"], "translation": ["Vogel", "bird"]},
    "part": {"a": 1.5, "b": "inside"},
}


@pytest.fixture
def mixed(store, png):
    """Three examples of all kinds: a whole one, one with NaN for a number, one without anything."""
    whole = {**FULL, "image": {"bytes": png(), "path": "animals/Crow.png"}}
    return datasets.import_examples([whole, {**whole, "number": float("nan")}, {}], FEATURES, "mixed", split=None)


@pytest.fixture
def numbers(store):
    """A thousand rows in four row groups, sorted by class, ten without a text."""
    features = {"n": Value("int64"), "text": Value("string"), "label": ClassLabel(("a", "b", "c", "d"))}
    rows = [{"n": n, "text": None if n % 100 == 50 else f"number {n}", "label": "abcd"[n // 250]} for n in range(1000)]
    return datasets.import_examples(rows, features, "numbers", target="label")


@pytest.fixture
def groups_read(monkeypatch):
    """The row groups that were read, with their columns."""
    read, seen = RowGroups.read, []

    def noted(self, group, columns, *arguments, **options):
        seen.append((group, tuple(columns)))
        return read(self, group, columns, *arguments, **options)

    monkeypatch.setattr(RowGroups, "read", noted)
    return seen


def test_pages_cut_the_dataset_into_two_hundred_at_a_time(numbers):
    first, last = page("numbers@1"), page(numbers, 4)
    assert first.rows == tuple(range(PAGE))
    assert (first.total, first.pages, first.more, first.searched) == (1000, 5, True, 1.0)
    assert (last.rows, last.more) == (tuple(range(800, 1000)), False)
    assert last.examples[0] == {"n": 800, "text": "number 800", "label": "d"}
    assert first.splits == tuple(numbers.split_of_rows()[:PAGE])


def test_the_first_page_reads_the_first_row_group_only(numbers, groups_read):
    page(numbers)
    assert {group for group, _columns in groups_read} == {0}


def test_there_is_no_page_after_the_last_one(numbers):
    with pytest.raises(DatasetError, match=r"There is no page 6. There are 5."):
        page(numbers, 5)
    with pytest.raises(DatasetError, match="There is no page 0"):
        page(numbers, -1)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split(numbers, split):
    found = page(numbers, 0, Filters(split=split))
    assert found.rows == tuple(numbers.rows(split)[:PAGE])
    assert (found.total, set(found.splits)) == (numbers.splits[split], {split})


def test_a_class_reads_no_row_group_that_cannot_have_it(numbers, groups_read):
    found = page(numbers, 0, Filters(class_name="d"))
    assert found.rows == tuple(range(750, 950))
    assert (found.total, found.more) == (250, True)
    assert {group for group, _columns in groups_read} == {2, 3}
    assert page(numbers, 1, Filters(class_name="d")).rows == tuple(range(950, 1000))


def test_filters_are_met_together(numbers):
    rows = numbers.rows("train")
    expected = [row for row in rows if 250 <= row < 500 and row % 100 != 50 and "7" in f"number {row}"]
    found = page(numbers, 0, Filters("train", "b", "NUMBER"))
    assert found.rows == tuple(row for row in rows if 250 <= row < 500 and row % 100 != 50)[:PAGE]
    assert page(numbers, 0, Filters("train", "b", "7")).rows == tuple(expected)
    assert page(numbers, 0, Filters("train", "b", missing="text")).total == len(
        [row for row in rows if row in (250, 350, 450)]
    )


@pytest.mark.parametrize(
    "text", ["bird", "BIRD", "ada", "树", "vogel", "crow.PNG", "inside", "yes", "person", "dog", "sings"]
)
def test_text_is_found_wherever_it_stands(mixed, text):
    assert page(mixed, 0, Filters(text=text)).rows == (0, 1)


@pytest.mark.parametrize("text", ["nowhere", "no such", "cat", "%", "A.Bird"])
def test_text_that_is_nowhere_finds_nothing(mixed, text):
    found = page(mixed, 0, Filters(text=text))
    assert (found.rows, found.total, found.pages, found.more) == ((), 0, 1, False)


@pytest.mark.parametrize("column", [*FEATURES, ANY_COLUMN])
def test_missing_values_of_every_kind(mixed, column):
    rows = (1, 2) if column in ("number", ANY_COLUMN) else (2,)
    assert page(mixed, 0, Filters(missing=column)).rows == rows


def test_what_a_check_finds_missing_is_what_the_filter_shows(store, png):
    features = {
        "t": Value("string"),
        "words": Sequence(Value("string")),
        "images": Sequence(Image()),
        "counts": Sequence(Value("int64")),
        "n": Value("float32"),
        "pair": Translation(("en", "zh")),
        "part": Struct((("a", Value("string")), ("b", Value("int8")))),
    }
    whole = {"t": "a", "words": ["b"], "images": [png()], "counts": [], "n": 1.0, "pair": {"en": "x", "zh": "y"}}
    whole["part"] = {"a": "c", "b": 0}
    odd = [{"t": ""}, {"t": " \n\u3000"}, {"words": ["", " "]}, {"words": []}, {"images": []}, {"counts": None}]
    odd += [{"n": float("nan")}, {"pair": {"en": " ", "zh": "y"}}, {"part": {"a": "", "b": 0}}, {"part": None}]
    ds = datasets.import_examples([whole, *({**whole, **each} for each in odd)], features, "odd", split=None)
    found = {name: set() for name in features}
    for finding in datasets.check(ds, kinds=["missing"]).findings():
        found[finding.column.partition(".")[0]] |= set(finding.rows)
    assert list(map(sorted, found.values())) == [[1, 2], [3, 4], [5], [6], [7], [8], [9, 10]]
    for name, rows in found.items():
        assert set(page(ds, 0, Filters(missing=name)).rows) == rows
    assert page(ds, 0, Filters(missing=ANY_COLUMN)).rows == tuple(range(1, 11))


def test_what_is_not_there_is_said_in_words(numbers):
    with pytest.raises(DatasetError, match=r"numbers@1 has no split 'dev'. There are: train, validation, test."):
        page(numbers, 0, Filters(split="dev"))
    with pytest.raises(DatasetError, match=r"has no class 'e'. There are: a, b, c, d."):
        page(numbers, 0, Filters(class_name="e"))
    with pytest.raises(DatasetError, match=r"has no column 'm'. There are: n, text, label."):
        page(numbers, 0, Filters(missing="m"))


def test_a_search_stops_when_its_time_is_over_and_goes_on(numbers):
    pages = Pages(numbers, Filters(text="number 9"))
    found = pages.page(0, seconds=0)
    assert (found.rows, found.searched, found.total) == ((9, *range(90, 100)), 0.25, None)
    while found.searched < 1:
        found = pages.page(0, seconds=0)
    assert found.total == 11 + 99  # 950 has no text
    assert found.rows[-1] == 999


def test_media_come_one_by_one(mixed, png, groups_read):
    pages = Pages(mixed)
    assert pages.page().examples[0]["image"] == "animals/Crow.png"
    assert all("image" not in columns for _group, columns in groups_read)
    assert pages.medium(0, "image").read() == png()
    assert pages.medium(2, "image") is None


def test_a_damaged_shard_is_noticed_after_it_was_shown(numbers):
    shard = numbers.folder / numbers.manifest.shards[0].file
    pages = Pages(numbers)
    assert not pages.has_unchecked
    pages.page()
    assert pages.has_unchecked
    pages.check()
    assert not pages.has_unchecked
    shard.chmod(0o644)
    data = bytearray(shard.read_bytes())
    data[-300] ^= 1  # in the footer: what is read of the first page looks whole
    shard.write_bytes(data)
    os.utime(shard, ns=(0, 0))
    again = Pages(numbers)
    again.page()
    with pytest.raises(DatasetError, match="its SHA-256 is not the one in the manifest"):
        again.check()


def test_every_kind_has_its_cell(mixed):
    first, _second, last = page(mixed).examples
    assert [(column["name"], column["kind"]) for column in columns_of(FEATURES)] == [
        ("text", "text"),
        ("number", "number"),
        ("label", "class"),
        ("image", "image"),
        ("words", "text"),
        ("pair", "translation"),
        ("some", "translation"),
        ("part", "text"),
    ]
    cells = cells_of(FEATURES, first)
    assert cells["image"] == {"kind": "image", "name": "animals/Crow.png", "boxes": [[0.0, 1.0, 2.0, 3.0, "dog"]]}
    assert cells["words"] == {"kind": "tokens", "tokens": [["Ada", "PERSON"], ["sings", "O"]]}
    assert cells["pair"]["parts"] == [["en", {"text": "tree"}], ["zh", {"text": "树"}]]
    assert cells["some"]["parts"] == [["de", {"text": "Vogel"}], ["en", {"text": "bird"}]]
    assert cells["part"]["text"] == "a: 1.5, b: inside"
    assert cells["label"] == {"kind": "class", "text": "yes"}
    assert {cell["kind"] for cell in cells_of(FEATURES, last).values()} == {"missing"}


def test_a_long_text_is_cut_and_says_so(store):
    long = "x" * (LONGEST_TEXT + 1)
    ds = datasets.import_examples([{"text": long}], {"text": Value("string")}, "long", split=None)
    cell = cells_of(ds.features, page(ds).examples[0])["text"]
    assert (len(cell["text"]), cell["cut"]) == (LONGEST_TEXT, LONGEST_TEXT + 1)


def test_histograms_of_every_kind(mixed):
    def counts(column):
        found = datasets.histogram(mixed, column)
        return found.measure, sum(found.counts), found.missing

    assert counts("text") == ("characters", 2, 1)
    assert counts("number") == ("value", 1, 2)
    assert counts("label") == ("class", 2, 1)
    assert counts("image") == ("pixels", 2, 1)
    assert counts("words") == ("items", 2, 1)
    assert counts("tags") == ("class", 4, 1)
    assert counts("objects") == ("boxes", 2, 1)
    assert counts("pair") == ("characters", 4, 1)
    assert counts("some") == ("characters", 4, 1)
    with pytest.raises(DatasetError, match=r"In column 'part' there is nothing to count. There is in: text, number"):
        datasets.histogram(mixed, "part")
    with pytest.raises(DatasetError, match="has no column 'none'"):
        datasets.histogram(mixed, "none")


def test_a_histogram_is_that_of_numpy(numbers):
    found = datasets.histogram("numbers", "n")
    expected, edges = np.histogram(np.arange(1000), 20)
    assert found.counts == tuple(expected)
    assert found.edges == tuple(edges)
    assert (found.looked_at, found.examples) == (1000, 1000)


def test_few_whole_numbers_have_a_bin_each(numbers):
    found = datasets.histogram(numbers, "text")
    assert (found.counts, found.edges) == ((10, 89, 891), (7.5, 8.5, 9.5, 10.5))
    assert found.missing == 10


def test_a_sample_is_whole_row_groups_from_all_over(numbers):
    found = datasets.histogram(numbers, "n", sample=500)
    assert (found.looked_at, found.examples) == (488, 1000)
    assert found.edges[0] == 0
    assert found.edges[-1] == 999


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", [1_500_000_000_000_000_000] * 3),
        ("int64", [1_500_000_000_000_000_001, 1_500_000_000_000_000_009, 1_500_000_000_000_000_300]),
        ("int64", [2**63 - 1, -(2**63), 0]),
        ("uint64", [2**64 - 1, 0, 1]),
        ("float64", [1e308, -1e308, 0.0]),
        ("float64", [1e300] * 3),
        ("float64", [1.0, math.nextafter(1, 2), 1.0]),
        ("float64", [0.1, math.inf, math.nan, 0.1, 0.1]),
    ],
)
def test_a_histogram_of_numbers_of_any_size_counts_all_that_are_finite(store, dtype, values):
    rows = [{"x": value} for value in values]
    found = histogram(datasets.import_examples(rows, {"x": Value(dtype)}, "made", split=None), "x")
    assert (sum(found.counts), found.missing) == (3, len(values) - 3)
    assert "nan" not in chart(found)
    assert "inf" not in chart(found)


def test_texts_that_arrow_keeps_as_views_are_searched_and_measured(store):
    rows = [{"x": "one needle"}, {"x": "hay"}]
    ds = datasets.import_examples(rows, {"x": Value("string_view")}, "made", split=None)
    assert page(ds, filters=Filters(text="NEEDLE")).rows == (0,)
    assert sum(histogram(ds, "x").counts) == 2
