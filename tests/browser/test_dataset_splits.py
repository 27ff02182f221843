"""Dividing a dataset by its speakers in a real browser, and on a phone in Chinese by time."""

import re

import pytest
from armillary import datasets
from armillary.datasets import ClassLabel, Value
from playwright.sync_api import expect
from support.browser import chromium, new_session, screenshot
from support.voila_pages import voila_pages

pytestmark = pytest.mark.browser

PANEL = "from armillary import datasets\ndatasets.panel('said@1')"
NOTEBOOKS = {"panel": PANEL, "chinese": "import os; os.environ['ARMILLARY_LANGUAGE'] = 'zh'\n" + PANEL}
FEATURES = {
    "text": Value("string"),
    "who": Value("string"),
    "year": Value("int64"),
    "mood": ClassLabel(("bad", "good")),
}


@pytest.fixture
def addresses(tmp_path, monkeypatch):
    for name in ("datasets", "edits", "cache"):
        monkeypatch.setenv(f"ARMILLARY_{name.upper()}", str(tmp_path / name))
    rows = [
        {"text": f"text {row}", "who": f"p{row % 12}", "year": 2000 + row // 2, "mood": row % 2} for row in range(60)
    ]
    datasets.import_examples(rows, FEATURES, "said", target="mood", split=None)
    with voila_pages(tmp_path, NOTEBOOKS, {"ARMILLARY_LANGUAGE": "en"}) as found:
        yield found


def test_by_group_and_by_time(addresses):
    with chromium() as browser:
        page = new_session(browser)
        page.goto(addresses["panel"])
        page.get_by_role("tab", name="Prepare").click()
        page.get_by_label("Divide", exact=True).select_option(label="by group: equal values stay together")
        page.get_by_label("Same value in").select_option(["who"])
        screenshot(page, "dataset split", full=True)
        page.get_by_role("button", name=re.compile("Divide$")).click()
        expect(page.get_by_role("heading", name="said@2")).to_be_visible()
        expect(page.get_by_role("tab", name="Look")).to_have_attribute("aria-selected", "true")

        phone = new_session(browser, width=390, height=844)
        phone.goto(addresses["chinese"])
        phone.get_by_role("tab", name="处理").click()
        phone.get_by_label("划分", exact=True).select_option(label="按时间：早的训练，晚的测试")
        screenshot(phone, "dataset split phone chinese", full=True)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        phone.get_by_role("button", name=re.compile("划分$")).click()
        expect(phone.get_by_role("heading", name="said@3")).to_be_visible()
    by_person = datasets.open("said@2")
    frame = by_person.to_pandas().assign(split=by_person.split_of_rows())
    assert frame.groupby("who")["split"].nunique().eq(1).all()
    assert datasets.open("said@3").manifest.recipe[0]["time"] == "year"
