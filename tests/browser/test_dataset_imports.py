"""Imports of every kind in a real browser: what is dropped or named is recognised, corrected if need be, and saved."""

import re
import sqlite3
import wave

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Audio, Boxes, Image, Translation, Value
from PIL import Image as Picture
from playwright.sync_api import expect
from support import annotated_pictures
from support.browser import chromium, drop, new_session, screenshot
from support.file_server import serving
from support.voila_pages import voila_pages

pytestmark = pytest.mark.browser

PANEL = "from armillary import datasets\ndatasets.panel()"
NOTEBOOKS = {"panel": PANEL, "chinese": "import os; os.environ['ARMILLARY_LANGUAGE'] = 'zh'\n" + PANEL}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    place = tmp_path_factory.mktemp("imports")
    variables = {f"ARMILLARY_{name.upper()}": str(place / name) for name in ("datasets", "edits", "cache")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with voila_pages(place, NOTEBOOKS, {"ARMILLARY_LANGUAGE": "en"}) as found:
            yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def panel(browser, addresses):
    """Returns a function that opens the panel; no page may have failed at the end."""
    errors = []

    def opened(name="panel", **session):
        page = new_session(browser, **session)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(addresses[name])
        page.locator(".arm-upload").wait_for()
        return page

    yield opened
    assert not errors


def recognised(page, title, label="Recognised as"):
    chosen = page.get_by_label(label, exact=True)
    expect(chosen.locator("option:checked")).to_have_text(title)
    return chosen


def saved(page, name, told="{} is saved.", button="Save a version", label="Name"):
    page.get_by_label(label, exact=True).filter(visible=True).fill(name)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text(told.format(f"{name}@1"))).to_be_visible()
    return datasets.open(f"{name}@1")


def test_pictures_dropped_with_their_boxes(panel, tmp_path):
    truth = annotated_pictures.write(tmp_path / "yard", "voc")
    page = panel()
    drop(page, tmp_path / "yard")
    recognised(page, "pictures with boxes (Pascal VOC)")
    boxes = sum(map(len, truth.values()))
    expect(page.get_by_text(f"12 pictures, {boxes} boxes of 2 classes")).to_be_visible()
    expect(page.locator(".arm-thumbs img")).to_have_count(12)
    screenshot(page, "import boxes", full=True)
    yard = saved(page, "yard")
    assert yard.features == {"image": Image(), "objects": Boxes(("ball", "crate"))}
    assert sum(len(row["objects"]["bbox"]) for row in yard.iterate()) == boxes


def test_what_was_recognised_is_corrected(panel, tmp_path):
    """Pictures sorted into folders that are no classes."""
    for number in range(8):
        place = tmp_path / "walks" / f"day {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(np.full((40, 60, 3), 25 * number, np.uint8)).save(place / f"{number}.png")
    page = panel()
    drop(page, tmp_path / "walks")
    chosen = recognised(page, "pictures in class folders")
    expect(page.get_by_role("table", name="Class balance")).to_be_visible()
    chosen.select_option(label="pictures")
    expect(page.get_by_role("table", name="Class balance")).to_have_count(0)
    expect(page.get_by_label("Class from")).to_be_visible()
    assert saved(page, "walks").target is None


def test_two_texts_dropped_together_are_translations(panel, tmp_path):
    lines = [("A bird sings.", "一只鸟在唱歌。"), ("The owl sleeps.", "猫头鹰在睡觉。"), ("It rains.", "下雨了。")] * 4
    files = tmp_path / "news.en", tmp_path / "news.zh"
    for file, number in zip(files, (0, 1), strict=True):
        file.write_text("\n".join(pair[number] for pair in lines), "utf-8")
    page = panel()
    drop(page, *files)
    recognised(page, "translation pairs")
    expect(page.get_by_label("Translated into")).to_have_value("zh")
    expect(page.get_by_role("table", name="The first rows")).to_contain_text("猫头鹰在睡觉。")
    screenshot(page, "import translations", full=True)
    page.get_by_label("Translated into").fill("fr")
    page.get_by_label("Translated into").blur()
    expect(page.get_by_text("There are no pairs of these languages.")).to_be_visible()
    page.get_by_label("Translated into").fill("zh")
    page.get_by_label("Translated into").blur()
    expect(page.get_by_role("table", name="The first rows")).to_be_visible()
    assert saved(page, "news").features == {"translation": Translation(("en", "zh"))}


def test_a_database_and_a_url_are_named(panel, tmp_path):
    with sqlite3.connect(tmp_path / "shop.sqlite") as shop:
        shop.execute("CREATE TABLE items (size REAL, sold TEXT)")
        shop.executemany("INSERT INTO items VALUES (?, ?)", [(n, "yes" if n % 2 else "no") for n in range(40)])
    shop.close()
    page = panel()
    page.get_by_label("or from here").fill(f"sqlite:///{tmp_path}/shop.sqlite")
    page.get_by_role("button", name="Look at it").click()
    recognised(page, "a database")
    query = page.get_by_label("Query (SQL)")
    expect(query).to_have_value('SELECT * FROM "items"')
    query.fill("SELECT size, sold FROM items WHERE size < 30")
    query.blur()
    page.get_by_label("Column with the class").select_option(label="sold")
    screenshot(page, "import database", full=True)
    assert len(saved(page, "items")) == 30

    with serving({"birds.csv": b"x,y\n" + b"1,crow\n2,owl\n" * 20}) as server:
        page.get_by_role("tab", name="Import").click()
        page.get_by_label("or from here").fill(f"{server.url}/file/birds.csv")
        page.get_by_role("button", name="Look at it").click()
        recognised(page, "a table")
        assert saved(page, "birds").manifest.source == f"{server.url}/file/birds.csv"
        page.get_by_role("tab", name="Import").click()
        page.get_by_label("or from here").fill(f"{server.url}/missing")
        page.get_by_role("button", name="Look at it").click()
        expect(page.get_by_role("alert")).to_contain_text("answers 404")


def test_sounds_with_their_texts_on_a_phone_in_chinese(panel, tmp_path):
    folder = tmp_path / "speech"
    folder.mkdir()
    for number in range(6):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((9000 * np.sin(np.arange(4000) * (0.1 + 0.05 * number))).astype("<i2").tobytes())
        (folder / f"{number}.txt").write_text(f"第 {number} 句话", "utf-8")
    page = panel("chinese", width=390, height=844)
    drop(page, folder)
    recognised(page, "同名的音频 + 文本", "识别为")
    expect(page.get_by_role("table", name="前几行")).to_contain_text("第 3 句话")
    screenshot(page, "import sounds phone chinese", full=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    spoken = saved(page, "speech", "{} 已保存", re.compile("保存新版本"), "名称")
    assert spoken.features == {"audio": Audio(), "text": Value("string")}
