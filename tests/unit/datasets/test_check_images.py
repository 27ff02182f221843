"""The check of pictures, on real ones with faults put in: how many are found, and how many findings are wrong."""

import gzip
import io

import numpy as np
import pytest
from armillary import datasets
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_sample_images
from support.real_data import FASHION_MNIST

DIGITS, WRONG, COPIES = 1200, 48, 12


def jpeg(pixels, quality=70):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def brighter(pixels):
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(0.8))


@pytest.fixture(scope="module")
def planted(mnist, tmp_path_factory):
    """Digits with wrong classes, copies, near copies, blank pictures and pieces of clothing; what was put where."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_DATASETS", str(tmp_path_factory.mktemp("store")))
        random = np.random.default_rng(0)
        rows = random.permutation(len(mnist[0]))[:DIGITS]
        pictures, classes = mnist[0][rows], mnist[1][rows].copy()
        chosen = random.permutation(DIGITS)
        wrong, copied, altered = np.split(chosen[: WRONG + 2 * COPIES], [WRONG, WRONG + COPIES])
        true = classes[wrong].copy()
        classes[wrong] = (true + random.integers(1, 10, WRONG)) % 10
        near = [jpeg(pictures[row]) if row % 2 else brighter(pictures[row]) for row in altered]
        with gzip.open(FASHION_MNIST / "t10k-images-idx3-ubyte.gz") as file:
            clothes = np.frombuffer(file.read(16 + 8 * 784), np.uint8, offset=16).reshape(8, 28, 28)
        parts = [pictures, pictures[copied], np.stack(near), np.full((4, 28, 28), 9, np.uint8), clothes]
        labels = np.concatenate([classes, classes[copied], classes[altered], [0, 1, 2, 3], np.arange(8)])
        ds = datasets.import_arrays(np.concatenate(parts), labels, name="digits")
        start = DIGITS + COPIES
        yield {
            "report": datasets.check(ds),
            "wrong": dict(zip(wrong.tolist(), map(str, true), strict=True)),
            "copies": {frozenset((int(row), DIGITS + i)) for i, row in enumerate(copied)},
            "near": {frozenset((int(row), start + i)) for i, row in enumerate(altered)},
            "blank": set(range(start + COPIES, start + COPIES + 4)),
            "clothes": set(range(start + COPIES + 4, len(labels))),
        }


def rows_of(findings):
    return {row for finding in findings for row in finding.rows}


def test_most_wrong_classes_are_found_with_the_right_one_and_few_others(planted):
    found = {finding.rows[0]: finding.suggestions[0] for finding in planted["report"].findings("label_error")}
    right = planted["wrong"].keys() & found.keys()
    assert len(right) >= 0.8 * WRONG
    assert len(right) >= 0.8 * len(found)
    relabelled = [found[row].action == "relabel" and found[row].value == planted["wrong"][row] for row in right]
    assert np.mean(relabelled) >= 0.9


def test_all_copies_are_found_in_one_split_or_across(planted):
    report = planted["report"]
    splits = report.dataset.split_of_rows()
    found = {frozenset(finding.rows): finding for finding in report.findings("duplicate") + report.findings("leak")}
    assert planted["copies"] <= found.keys()
    for rows in planted["copies"]:
        several = len({splits[row] for row in rows}) > 1
        assert found[rows].kind == ("leak" if several else "duplicate")
        (suggestion,) = found[rows].suggestions
        assert suggestion.action == "remove"
        assert not several or splits[suggestion.row] == "train" or "train" not in {splits[row] for row in rows}


def test_near_copies_are_found_and_hardly_anything_else_is_taken_for_one(planted):
    report = planted["report"]
    nearly = [finding for finding in report.findings("leak") if finding.score < 1] + report.findings("near_duplicate")
    found = {frozenset(finding.rows) for finding in nearly}
    assert len(planted["near"] & found) >= 0.9 * COPIES
    assert len(found - planted["near"]) <= 3  # ones that are drawn alike


def test_blank_pictures_are_found_and_nothing_else(planted):
    assert rows_of(planted["report"].findings("blank")) == planted["blank"]


def test_pieces_of_clothing_are_outliers_among_digits(planted):
    found = rows_of(planted["report"].findings("outlier"))
    assert len(found & planted["clothes"]) >= 6  # of eight
    assert len(found - planted["clothes"] - planted["blank"]) <= 0.005 * DIGITS


def test_what_is_usual_for_digits_is_no_fault(planted):
    report = planted["report"]
    for kind in ("dark", "bright", "blurry", "odd_aspect", "broken", "missing", "imbalance", "target_leak"):
        assert report.findings(kind) == []
        assert report.totals[kind] == 0


def test_the_same_seed_gives_the_same_report(planted):
    again = datasets.check(planted["report"].dataset)
    assert again.found == planted["report"].found


def test_the_page_shows_pictures_and_says_what_was_not_found(planted):
    page = planted["report"]._repr_html_()
    assert page.count("<img src=") == page.count('alt="image of row')
    assert "Which class for which" in page
    assert "Looked for and not found: Tells the class, Broken, Missing values" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.fixture
def photographs():
    china, flower = load_sample_images().images
    return Image.fromarray(china).resize((160, 107)), Image.fromarray(flower).resize((160, 107))


def pieces(picture):
    """Return nine different cuts of a photograph."""
    return [picture.crop((x, y, x + 96, y + 72)) for x in (0, 30, 60) for y in (0, 15, 30)]


def test_dark_bright_blurry_and_long_photographs_are_found(store, photographs):
    usual = [piece for picture in photographs for piece in pieces(picture)]
    spoilt = {
        "dark": ImageEnhance.Brightness(usual[3]).enhance(0.08),
        "bright": Image.eval(usual[5], lambda level: 247 + level // 32),
        "blurry": usual[7].filter(ImageFilter.GaussianBlur(4)),
        "odd_aspect": photographs[0].crop((0, 40, 160, 60)),
    }
    files = [as_png(picture) for picture in (*usual, *spoilt.values())]
    ds = datasets.import_examples(
        [{"photo": file} for file in files], {"photo": datasets.Image()}, "photos", split=None
    )
    report = datasets.check(ds)
    for row, kind in enumerate(spoilt, len(usual)):
        assert row in rows_of(report.findings(kind)), kind
        assert not rows_of(report.findings(kind)) & set(range(len(usual))), kind
    assert "times the short one" in report.findings("odd_aspect")[0].explanation
    assert "Wrong classes were not looked for: the dataset has no column with the class." in report.notes


def as_png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
