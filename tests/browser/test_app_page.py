"""The page of an app as a visitor has it: on a phone, by keyboard, with bad files, with a lost connection."""

import io
import os
import signal
from pathlib import Path

import psutil
import pytest
from PIL import Image
from playwright.sync_api import expect
from support.app_server import ACCESS, app_server
from support.browser import chromium
from support.onnx_models import brightness_model, flower_model, release, table_release

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
CLASSES = ["dark", "middling", "bright"]
TITLE = "How bright is it? <1>"
#: Milliseconds until a page is there whose server has to start first.
PAGE_PATIENCE = 90_000


def png(grey: int, size=(28, 28)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, grey).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    about = release(title=TITLE, classes=CLASSES, description="Tells dark pictures from bright ones.")
    with app_server(tmp_path_factory.mktemp("app"), brightness_model(), about) as running:
        running.token = running.hub.person("bob", ACCESS)
        yield running


@pytest.fixture(scope="module")
def table_app(tmp_path_factory):
    columns = ["petal length (cm)", "colour=red", "colour=blue"]
    about = table_release(columns, title="Which flower?", classes=["setosa", "virginica"])
    with app_server(tmp_path_factory.mktemp("table-app"), flower_model(), about, "table_form") as running:
        running.token = running.hub.person("bob", ACCESS)
        yield running


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def open_page(request, browser):
    """Return a function that opens the app (of pictures, unless another is given) in a fresh browser session."""
    contexts = []

    def opened(language="en-US", app=None, **options):
        app = app or request.getfixturevalue("app")
        context = browser.new_context(viewport=PHONE, locale=language, **options)
        context.set_default_timeout(PAGE_PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.requests_elsewhere = []
        page.on("request", lambda sent: page.requests_elsewhere.append(sent.url))
        # Signing in is the business of other tests: this visitor has.
        name, value = f"jupyterhub-user-{'app-digits'}", app.token
        context.add_cookies([{"name": name, "value": value, "url": app.url, "httpOnly": True}])
        page.goto(app.url)
        return page

    yield opened
    if folder := os.environ.get("ARMILLARY_SCREENSHOTS"):
        for context in contexts:
            if context.pages:
                context.pages[0].screenshot(path=str(Path(folder) / f"{request.node.name}.png"), full_page=True)
    for context in contexts:
        context.close()


def choose(page, content: bytes, name="picture.png", label="Choose a picture"):
    page.get_by_label(label).set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def test_a_visitor_on_a_phone_reads_the_right_class(app, open_page):
    page = open_page()
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    assert page.title() == TITLE
    for grey, name in ((255, "bright"), (128, "middling"), (0, "dark")):
        choose(page, png(grey))
        expect(page.locator(".classes li").first).to_contain_text(name)
        expect(page.locator(".classes li").first).to_contain_text("%")
        expect(page.locator("[aria-live=polite]")).to_contain_text(f"Most likely: {name}")
    assert page.locator("html").get_attribute("lang") == "en-US"
    expect(page.get_by_role("link", name="All apps")).to_have_attribute("href", "/services/apps/")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    origin = app.url.split("/user/")[0]
    assert [url for url in page.requests_elsewhere if not url.startswith((origin, "data:", "blob:"))] == []


def test_the_page_speaks_chinese_by_keyboard_in_the_dark(open_page):
    page = open_page("zh-CN", color_scheme="dark")
    chooser = page.get_by_label("选择图片")
    expect(chooser).to_be_attached()
    page.keyboard.press("Tab")  # to the way back
    page.keyboard.press("Tab")
    expect(chooser).to_be_focused()
    choose(page, png(255), label="选择图片")
    expect(page.locator("[aria-live=polite]")).to_contain_text("最可能是：bright")


def test_bad_files_are_refused_in_words(open_page):
    page = open_page()
    expect(page.get_by_label("Choose a picture")).to_be_attached()
    choose(page, b"no picture at all", "notes.png")
    alert = page.locator(".error")
    expect(alert).to_contain_text("“notes.png” is not a picture that can be read.")
    choose(page, png(255))
    expect(page.locator(".classes li").first).to_contain_text("bright")
    expect(alert).to_be_hidden()


def test_a_large_photo_is_made_smaller_before_it_is_sent(open_page):
    page = open_page()
    expect(page.get_by_label("Choose a picture")).to_be_attached()
    noise = Image.effect_noise((4000, 3000), 8).point(lambda value: min(255, value + 120))
    file = io.BytesIO()
    noise.save(file, "PNG")
    assert len(file.getvalue()) > 5_000_000
    choose(page, file.getvalue(), "photo.png")
    expect(page.locator(".classes li").first).to_contain_text("bright")


def test_a_lost_connection_is_told_and_mended(app, open_page):
    page = open_page()
    expect(page.get_by_label("Choose a picture")).to_be_attached()
    choose(page, png(255))
    expect(page.locator(".classes li").first).to_contain_text("bright")
    (server,) = [
        child
        for child in psutil.Process(app.process.pid).children()
        if "armillary_hub.app_server.page" in child.cmdline()
    ]
    os.kill(server.pid, signal.SIGKILL)
    banner = page.get_by_role("alert").filter(has_text="connection is lost")
    expect(banner).to_be_visible()
    button = page.get_by_role("button", name="Reload")
    expect(button).to_be_visible()
    expect(page.get_by_text("This page’s session has ended.")).to_be_visible()
    button.click()
    choose(page, png(0))
    expect(page.locator(".classes li").first).to_contain_text("dark")


def test_a_table_is_filled_in_and_answered(table_app, open_page):
    page = open_page(app=table_app)
    length = page.get_by_label("petal length (cm)")
    expect(length).to_be_visible()
    length.fill("long")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="“petal length (cm)” must be a number")).to_be_visible()
    expect(length).to_be_focused()
    for value, colour, name in (("9,5", "blue", "virginica"), ("0.1", "red", "setosa")):
        length.fill(value)
        page.get_by_label("colour").select_option(colour)
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("[aria-live=polite]")).to_contain_text(f"Most likely: {name}")
    expect(page.locator(".error")).to_be_hidden()
