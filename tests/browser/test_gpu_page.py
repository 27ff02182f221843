"""The page of the GPUs in a browser: an admin's forms with and without scripts, news that disturb nobody, a phone."""

import re
import subprocess
import sys

import pytest
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.processes import Process
from playwright.sync_api import expect
from support.browser import PATIENCE, chromium, screenshot
from support.gpu_pool import PoolProcess

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"), simulate_gpus=4)
    pool.start()
    yield pool
    pool.kill()


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def open_page(pool, browser):
    """Return a function that opens the page as somebody, in a browser session of its own."""
    contexts = []

    def opened(user, **options):
        headers = {"Authorization": f"Bearer {user}"}
        contexts.append(browser.new_context(extra_http_headers=headers, **{"locale": "en-GB", **options}))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.goto(f"{pool.url}/")
        return page

    yield opened
    for context in contexts:
        context.close()
    pool.clear()


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield Process.of(process.pid)
    process.kill()
    process.wait()


def grant(pool, user, holder, devices=1, label="digits.ipynb"):
    with LeaseClient(pool.connection(user)) as client:
        lease = client.ask("kernel", devices, label, Process.own())
        return client.bind(lease.id, holder)


@pytest.mark.parametrize("scripts", [True, False])
def test_an_admin_sets_quotas_and_reserves(open_page, scripts):
    page = open_page("admin:root", java_script_enabled=scripts, timezone_id="Asia/Shanghai")
    page.get_by_text("Set a quota").click()
    form = page.locator("#set-quota")
    form.get_by_label("Name").fill("ada")
    form.get_by_label("GPUs at once").fill("two")
    form.get_by_label("Weight").fill("2")
    form.get_by_role("button", name="Set").click()
    wrong = form.get_by_label("GPUs at once")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_accessible_description("A number of GPUs, such as 2 or 0.5; empty for no limit.")
    expect(form.get_by_label("Name")).to_have_value("ada")
    expect(form.get_by_label("Weight")).to_have_value("2")
    screenshot(page, f"gpu page error {scripts}", full=True)
    wrong.fill("2")
    wrong.press("Enter")
    expect(page.get_by_role("status").filter(has_text="The quota is set.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="ada").filter(has_text="no limit")
    expect(row).to_be_visible()

    page.get_by_text("Reserve GPUs").click()
    expect(page.get_by_label("Time zone")).to_have_value("Asia/Shanghai" if scripts else "UTC")
    page.get_by_label("Name").first.fill("class")
    page.get_by_label("For whom").first.select_option("group")
    page.get_by_label("From", exact=True).fill("2036-11-24T09:00")
    page.get_by_label("To", exact=True).fill("2036-11-24T11:00")
    page.get_by_label("Every week").check()
    page.get_by_role("button", name="Reserve", exact=True).click()
    expect(page.get_by_text("every Monday 09:00–11:00")).to_be_visible()
    page.get_by_role("button", name=re.compile("Remove: Group class")).click()
    expect(page.get_by_text("Nothing is reserved.")).to_be_visible()
    row.get_by_role("link", name="Change: ada").click()
    expect(page.locator("#set-quota").get_by_label("GPUs at once")).to_have_value("2")
    page.get_by_role("button", name="Remove: ada").click()
    expect(page.get_by_text("Nobody has a limit.")).to_be_visible()


def test_news_come_without_losing_what_one_types(open_page, pool, sleeper):
    page = open_page("admin:root")
    page.get_by_text("Set a quota").click()
    name = page.locator("#set-quota").get_by_label("Name")
    name.fill("somebody")
    grant(pool, "ada", sleeper)
    expect(page.get_by_role("row").filter(has_text="GPU 0")).to_contain_text("ada")
    expect(name).to_have_value("somebody")
    release = page.get_by_label(re.compile("Release: ada"))
    release.focus()
    release.press("Enter")
    expect(page.get_by_text("What it has not saved is lost.")).to_be_visible()
    page.get_by_role("button", name="Release it from ada").click()
    expect(page.get_by_role("row").filter(has_text="GPU 0")).to_contain_text("Free")
    assert not sleeper.is_alive()


def test_news_that_come_late_close_nothing_that_was_opened_meanwhile(open_page, pool, sleeper):
    grant(pool, "ada", sleeper)
    page = open_page("admin:root")
    asked = []

    def first_is_held(route):
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    page.route(f"{pool.url}/", first_is_held)
    with page.expect_request(f"{pool.url}/"):
        pass
    page.wait_for_timeout(4000)  # in which it would ask again
    assert len(asked) == 1
    with LeaseClient(pool.connection("bob")) as client:
        waiting = client.ask("kernel", 4, "late.ipynb", Process.own())
        page.get_by_label(re.compile("Release: ada")).click()
        warning = page.get_by_text("What it has not saved is lost.")
        expect(warning).to_be_visible()
        with page.expect_request_finished():
            asked[0].continue_()
        page.wait_for_timeout(1000)  # in which the news would be shown
        expect(warning).to_be_visible()
        page.get_by_label(re.compile("Release: ada")).click()
        page.get_by_role("heading", level=1).click()
        expect(page.get_by_text("late.ipynb")).to_be_visible()
        client.give_back(waiting.id)


def test_on_a_phone_ones_place_comes_first_and_is_spoken(open_page, pool, sleeper):
    grant(pool, "ada", sleeper, devices=4, label="a_very_long_name_of_a_notebook_that_nobody_could_read_aloud.ipynb")
    page = open_page("ada", viewport=PHONE, locale="zh-CN")
    with LeaseClient(pool.connection("ada")) as client:
        waiting = client.ask("kernel", 2, "second.ipynb", Process.own())
        place = "队列共 1 位，您排第 1 位"
        expect(page.locator("[data-place]")).to_contain_text(place)
        expect(page.locator("#spoken")).to_contain_text(place)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        screenshot(page, "gpu page phone", full=True)
        client.give_back(waiting.id)
    expect(page.locator("#spoken")).to_have_text("")
