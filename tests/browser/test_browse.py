"""Pages of examples in a real browser: who turns them by keys goes on by keys."""

import pytest
from armillary import datasets
from armillary.datasets import Value
from playwright.sync_api import expect
from support.browser import PATIENCE, chromium
from support.voila_pages import voila_pages

pytestmark = pytest.mark.browser

VIEW = """
from armillary import datasets
from armillary.datasets.browse.examples_view import ExamplesView
view = ExamplesView()
view.show(datasets.open("numbers"))
view
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Three pages of numbers in a browser."""
    store = {"ARMILLARY_DATASETS": str(tmp_path / "store"), "ARMILLARY_LANGUAGE": "en"}
    monkeypatch.setenv("ARMILLARY_DATASETS", store["ARMILLARY_DATASETS"])
    datasets.import_examples([{"x": number} for number in range(450)], {"x": Value("int64")}, "numbers", split=None)
    with voila_pages(tmp_path, {"view": VIEW}, store) as addresses, chromium() as browser:
        opened = browser.new_page(viewport={"width": 1100, "height": 900})
        opened.set_default_timeout(PATIENCE)
        opened.goto(addresses["view"])
        yield opened


def test_pages_are_turned_by_keys_one_after_the_other(page):
    def example(number):
        return page.get_by_role("button", name=f"Example {number}", exact=True)

    example(1).focus()
    page.keyboard.press("PageDown")
    expect(example(201)).to_be_focused()
    page.keyboard.press("PageDown")
    expect(example(401)).to_be_focused()
    page.keyboard.press("PageUp")
    expect(example(201)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(example(202)).to_be_focused()

    page.get_by_label("Without a value in").select_option("x")
    expect(page.get_by_text("No example is like that.")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_label("With the text")).to_be_focused()
    expect(page.get_by_text("1–200 of 450 examples")).to_be_visible()
