"""Two people and one GPU, in a browser: the second waits visibly, gets it when the first is idle, and the first gets it
back with the next cell, the state as it was. The pool's page shows each step.
"""

import contextlib
import re

import httpx
import nbformat
import pytest
from armillary_hub.accounts.invitations import recovery_link
from playwright.sync_api import Locator, Page, expect
from support.browser import chromium, new_session, screenshot
from support.deployment import deploy, is_root

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PASSWORD = "correct horse battery staple"

#: Minutes for which an idle kernel keeps its GPU while somebody waits.
CONFIG = "c.GpuSharing.idle_after = 1 / 60"

#: Works until there is a file named "enough".
WORKS = """from pathlib import Path; import time
x = 6 * 7
print("working")
while not Path("enough").exists(): time.sleep(0.1)"""


@pytest.fixture(scope="module")
def workshop():
    with deploy("team" if is_root() else "solo", simulate_gpus=1, config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def test_two_people_share_a_gpu(workshop, browser):
    ann = open_notebook(workshop, new_session(browser), "ann", WORKS, "print('x is', x)")
    run_cell(ann, 0)
    expect(output(ann, 0)).to_have_text("working")
    gpus = new_session(browser)
    sign_in(workshop, gpus, "carol")
    expect(gpu(workshop, gpus)).to_contain_text("ann")

    bob = open_notebook(workshop, new_session(browser), "bob", WORKS)
    run_cell(bob, 0)
    notice = output(bob, 0)
    expect(notice).to_contain_text("Waiting for a GPU: place 1 in the queue")
    expect(notice).to_contain_text("GPU 0: ann, since")
    screenshot(bob, "gpu sharing 1 bob waits")
    expect(gpu(workshop, gpus)).to_contain_text("ann")
    screenshot(gpus, "gpu sharing 2 page while bob waits", full=True)

    say_enough(workshop, "ann")
    expect(notice).to_have_text("working")
    expect(gpu(workshop, gpus)).to_contain_text("bob")
    expect(gpus.get_by_text(re.compile("suspended", re.IGNORECASE)).first).to_be_visible()
    screenshot(gpus, "gpu sharing 3 page while ann is suspended", full=True)

    run_cell(ann, 1)
    expect(output(ann, 1)).to_contain_text("its state is kept")
    expect(output(ann, 1)).to_contain_text("GPU 0: bob, since")
    screenshot(ann, "gpu sharing 4 ann waits to come back")
    say_enough(workshop, "bob")
    expect(output(ann, 1)).to_have_text("x is 42")
    screenshot(ann, "gpu sharing 5 ann is back")
    expect(gpu(workshop, gpus)).to_contain_text("ann")
    screenshot(gpus, "gpu sharing 6 page at the end", full=True)


def sign_in(workshop, page: Page, name: str) -> None:
    workshop.add_user(name)
    page.goto(recovery_link(workshop.settings, name))
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password and sign in").click()
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()


def open_notebook(workshop, page: Page, name: str, *cells: str) -> Page:
    """Open a notebook of a person on our PyTorch kernel, and wait until the kernel is there."""
    sign_in(workshop, page, name)
    server = workshop.start_server(name)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
    notebook.metadata["kernelspec"] = {"name": "python-torch", "display_name": "Python (PyTorch)", "language": "python"}
    put(workshop, name, "shared.ipynb", {"type": "notebook", "content": notebook})
    page.goto(f"{server}lab/tree/shared.ipynb")
    expect(page.locator(".jp-NotebookPanel")).to_be_visible(timeout=120_000)
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    expect(idle).to_be_attached(timeout=120_000)
    expect(page.get_by_role("button", name="Python (PyTorch) | Idle")).to_be_visible(timeout=120_000)
    return page


def say_enough(workshop, name: str) -> None:
    put(workshop, name, "enough", {"type": "file", "format": "text", "content": ""})


def put(workshop, name: str, path: str, model: dict[str, object]) -> None:
    """Write a file into a person's home, as JupyterLab does."""
    headers = {"Authorization": f"Bearer {workshop.token(name)}"}
    address = f"{workshop.url}/user/{name}/api/contents/{path}"
    httpx.put(address, headers=headers, json=model, timeout=60).raise_for_status()


def run_cell(page: Page, index: int) -> None:
    """Press the button in the toolbar, which does nothing while JupyterLab is still loading parts of itself."""
    prompt = page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".jp-InputPrompt")
    for _attempt in range(20):
        prompt.click()
        page.get_by_role("button", name=re.compile("^Run this cell")).click()
        with contextlib.suppress(AssertionError):
            expect(prompt).not_to_have_text("[ ]:", timeout=1000)
            return
    raise AssertionError("The cell does not run")


def output(page: Page, index: int) -> Locator:
    return page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".jp-OutputArea-output")


def gpu(workshop, page: Page) -> Locator:
    """Return the row of the GPU on the pool's page, as it is now."""
    page.goto(f"{workshop.url}/services/gpu-pool/")
    return page.get_by_role("row").filter(has_text="GPU 0").first
