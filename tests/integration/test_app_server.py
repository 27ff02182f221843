"""An app's own server: sign-in, what its page and kernels get to see, and what visitors cannot do."""

import json
import uuid
from pathlib import Path

import httpx
import psutil
import pytest
from armillary_hub.app_server import activity
from support import patiently
from support.app_server import ACCESS, app_server
from support.asgi import running
from support.deployment import wait_for
from support.fake_hub import FakeHub
from support.onnx_models import digits_model, release
from websockets.asyncio.client import connect

BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with app_server(tmp_path_factory.mktemp("app"), digits_model(), release(title="Digits")) as started:
        yield started


@pytest.fixture(scope="module")
def bob(app):
    """A program with the token of a person who has access."""
    headers = {"Authorization": f"Bearer {app.hub.person('bob', ACCESS)}"}
    with httpx.Client(base_url=app.url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def page(bob):
    """The page's HTML, once it is there."""
    answer = bob.get("")
    assert answer.status_code == 200
    return answer.text


def test_a_visitor_signs_in_with_the_hub_and_lands_on_the_page(app, page):
    app.hub.visitor = app.hub.person("eve", ACCESS)
    origin = app.url.split("/user/")[0]
    with httpx.Client(headers=BROWSER, timeout=60) as visitor:
        asked = visitor.get(f"{app.url}?x=1")
        assert asked.status_code == 302
        assert asked.headers["location"].startswith("/hub/api/oauth2/authorize?client_id=jupyterhub-user-app-digits")
        hub = app.hub_url + asked.headers["location"]
        back = visitor.get(origin + patiently.get(hub).headers["location"])
        assert back.headers["location"] == "/user/app-digits/?x=1"
        assert "Digits" in visitor.get(origin + back.headers["location"]).text


def test_a_person_without_access_is_told_whom_to_ask(app):
    headers = {**BROWSER, "Authorization": f"Bearer {app.hub.person('mallory')}"}
    answer = patiently.get(app.url, headers=headers)
    assert answer.status_code == 403
    assert "You have no access to the app “Digits”." in answer.text
    assert "Ask ada, who published it." in answer.text
    assert (
        "您没有权限使用应用“Digits”。" in patiently.get(app.url, headers={**headers, "Accept-Language": "zh-CN"}).text
    )


def test_programs_without_access_get_the_protocols_error(app):
    assert patiently.get(f"{app.url}v2/models/digits").status_code == 401
    refused = patiently.get(
        f"{app.url}v2/models/digits", headers={"Authorization": f"Bearer {app.hub.person('mallory')}"}
    )
    assert (refused.status_code, list(refused.json())) == (403, ["error"])


def test_the_page_asks_no_other_site(page):
    addresses = [part.split('"')[0].split("'")[0] for part in page.split("://")[1:]]
    assert addresses == []


def test_the_page_is_kept_out_of_frames(bob):
    headers = bob.get("").headers
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "set-cookie" not in headers


def test_the_page_and_its_kernels_have_no_token(app, page):
    children = psutil.Process(app.process.pid).children(recursive=True)
    assert len(children) >= 2
    for child in children:
        environment = json.dumps(child.environ())
        assert "the-robots-own-secret" not in environment
        assert "JUPYTERHUB" not in environment


def test_its_sockets_are_its_own(app, page):
    for name in ("endpoint.sock", "page.sock"):
        assert (app.runtime_dir / name).stat().st_mode & 0o777 == 0o600
    # A kernel's one TCP port takes output of its own subprocesses, by a secret; its channels are Unix sockets.
    kernels = [each.cmdline() for each in psutil.Process(app.process.pid).children(recursive=True)]
    files = [Path(command[-1]) for command in kernels if "armillary_hub.app_server.kernel" in command]
    assert files
    assert {json.loads(file.read_text())["transport"] for file in files} == {"ipc"}


def test_another_template_cannot_be_asked_for(bob, page):
    assert "app-page" in bob.get("?template=nosuch").text


def kernel_of(app, client, page):
    """Connect to the kernel of a page."""
    kernel = page.split('"kernelId": "')[1].split('"')[0]
    address = f"{app.url.replace('http', 'ws')}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
    return connect(address, additional_headers={"Authorization": client.headers["authorization"]}, max_size=None)


async def test_one_visitor_too_many_is_told_so(tmp_path):
    about = release(title="Digits")
    with app_server(tmp_path, digits_model(), about, ARMILLARY_APP_VISITORS="1") as app:
        headers = {"Authorization": f"Bearer {app.hub.person('bob', ACCESS)}", "Accept": "text/html"}
        async with httpx.AsyncClient(base_url=app.url, headers=headers, timeout=60) as bob:
            first = await bob.get("")
            assert first.status_code == 200
            async with kernel_of(app, bob, first.text):
                second = await bob.get("", headers={"Accept-Language": "zh-CN"})
                assert (second.status_code, second.headers["retry-after"]) == (503, "60")
                assert "此应用的名额已满。" in second.text
                assert "All places in this app are taken." in (await bob.get("")).text
                assert (await bob.get("v2/health/ready")).status_code == 200


async def test_visitors_cannot_run_code(app, bob, page):
    async with kernel_of(app, bob, page) as channels:
        for kind, content in (("execute_request", {"code": "1/0", "silent": False}), ("kernel_info_request", {})):
            header = {"msg_id": kind, "msg_type": kind, "username": "", "session": "s", "date": "", "version": "5.3"}
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
            await channels.send(json.dumps({**message, "buffers": []}))
        answered = set()
        while "kernel_info_reply" not in answered:
            message = json.loads(await channels.recv())
            answered.add(message["header"]["msg_type"])
    assert "execute_reply" not in answered
    assert "error" not in answered


def test_the_model_is_not_in_the_kernels(app, page):
    for child in psutil.Process(app.process.pid).children(recursive=True):
        assert not [each.path for each in child.memory_maps() if "onnxruntime" in each.path]


async def test_use_is_reported_to_the_hub(monkeypatch):
    import asyncio

    monkeypatch.setattr(activity, "INTERVAL", 0.01)
    hub = FakeHub()
    with running(hub.app) as port:
        reported = activity.Activity(f"http://127.0.0.1:{port}/hub/api/users/app-digits/activity", "token")
        reporting = asyncio.create_task(reported.report())
        reported.used()
        await asyncio.to_thread(wait_for, lambda: hub.activity, 20)
        reporting.cancel()
    name, body = hub.activity[0]
    assert name == "app-digits"
    assert body["last_activity"] == body["servers"][""]["last_activity"]
