"""People at a real headless Chromium: each has a browser session of their own."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("ARMILLARY_CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
#: Screenshots of the last run, to be looked at.
SCREENSHOTS = Path(__file__).parents[2] / ".test-output" / "screenshots"
#: Milliseconds that a page may take on a busy machine.
PATIENCE = 60_000

expect.set_options(timeout=PATIENCE)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        try:
            yield browser
        finally:
            browser.close()


def new_session(browser: Browser, *, language: str = "en-GB", width: int = 1280, height: int = 900) -> Page:
    """Return an empty page of a browser session that shares nothing with others."""
    context = browser.new_context(viewport={"width": width, "height": height}, locale=language)
    context.set_default_timeout(PATIENCE)
    return context.new_page()


def drop(page: Page, *paths: Path) -> None:
    """Let go of files over the panel's field for uploads, as a person does who has dragged them from another window."""
    page.get_by_role("tab").first.wait_for()  # the tabs above the field move it when they come
    page.locator(".arm-upload").hover()  # which waits until it stands still
    field = page.locator(".arm-upload").bounding_box()
    assert field is not None
    place = {"x": field["x"] + field["width"] / 2, "y": field["y"] + 12}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})


def screenshot(page: Page, name: str, *, full: bool = False) -> None:
    """Keep a picture of a page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png", full_page=full)
