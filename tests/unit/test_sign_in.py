"""Who gets into a web service: by token, by OAuth, and not from other pages."""

import httpx
import pytest
from armillary_hub.settings import Settings
from armillary_hub.web import sign_in
from armillary_hub.web.errors import EXCEPTION_HANDLERS
from armillary_hub.web.identity import HubIdentity
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from support.asgi import running
from support.fake_hub import FakeHub
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

PREFIX = "/services/mlflow/"
ACCESS = "access:services!service=mlflow"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def whoami(request):
    identity = request.state.identity
    return JSONResponse({"name": identity.name, "admin": identity.admin, "groups": identity.groups})


async def page(request):
    return HTMLResponse(f"<p>{request.state.identity.name}</p>")


async def echo(websocket):
    await websocket.accept()
    await websocket.send_text(websocket.state.identity.name)
    await websocket.close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = FakeHub()
    with running(fake.app) as port:
        settings = Settings(home=tmp_path, port=port - 1)  # the hub's port is the one after the public one
        settings.make_folders()
        fake.identity = HubIdentity(settings, "mlflow", ("health", "assets/"), ("_xsrf", "mlflow-xsrf"))
        fake.url = f"http://127.0.0.1:{port}"
        yield fake


@pytest.fixture
def service(hub):
    public = [Route(f"{PREFIX}{path}", lambda request: JSONResponse("public")) for path in ("health", "assets/a.js")]
    app = Starlette(
        routes=[
            *hub.identity.routes(),
            *public,
            Route(f"{PREFIX}me", whoami, methods=["GET", "POST"]),
            Route(PREFIX, page),
            WebSocketRoute(f"{PREFIX}socket", echo),
        ],
        middleware=[hub.identity.middleware()],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    with running(app) as port:
        yield f"http://127.0.0.1:{port}"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def browser(hub, service):
    """A browser that Ada has signed in with."""
    hub.visitor = hub.person("ada", ACCESS, admin=True, groups=["everyone"])
    with httpx.Client(base_url=service, headers=BROWSER) as client:
        asked = client.get(PREFIX)
        assert asked.status_code == 302
        back = httpx.get(hub.url + asked.headers["location"]).headers["location"]
        answer = client.get(back)
        assert (answer.status_code, answer.headers["location"]) == (302, PREFIX)
        yield client


def test_a_token_says_who_one_is(hub, service):
    token = hub.person("ada", ACCESS, admin=True, groups=["everyone", "lab"])
    for scheme in ("Bearer", "token", "bearer"):
        answer = httpx.get(f"{service}{PREFIX}me", headers={"Authorization": f"{scheme} {token}"})
        assert answer.json() == {"name": "ada", "admin": True, "groups": ["everyone", "lab"]}


def test_no_token_and_unknown_tokens_are_401(service):
    bare = httpx.get(f"{service}{PREFIX}me")
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, "Bearer")
    assert bare.json()["error"]["what"] == "This address needs a token of the hub."
    wrong = httpx.get(f"{service}{PREFIX}me", headers={**bearer("nonsense"), "Accept": "text/html"})
    assert (wrong.status_code, "The token is not valid." in wrong.text) == (401, True)


def test_access_to_another_service_is_403(hub, service):
    token = hub.person("eve", "access:services!service=apps")
    answer = httpx.get(f"{service}{PREFIX}me", headers=bearer(token))
    assert answer.status_code == 403
    assert answer.json()["error"]["what"] == "eve has no access to /services/mlflow/."
    chinese = httpx.get(f"{service}{PREFIX}me", headers={**bearer(token), "Accept-Language": "zh-CN"}).json()["error"]
    assert chinese == {"what": "eve 无权访问 /services/mlflow/。", "remedy": "请向其所有者申请访问权限。"}


def test_public_paths_need_nothing(service):
    assert httpx.get(f"{service}{PREFIX}health").json() == "public"
    assert httpx.get(f"{service}{PREFIX}assets/a.js").json() == "public"
    assert httpx.get(f"{service}{PREFIX}healthy").status_code == 401


def test_a_hub_that_is_away_is_a_503(hub, service, monkeypatch):
    hub.identity.auth.api_url = "http://127.0.0.1:1/hub/api"
    answer = httpx.get(f"{service}{PREFIX}me", headers=bearer("any"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")


def test_a_browser_signs_in_and_stays_signed_in(browser):
    assert browser.get(PREFIX).text == "<p>ada</p>"


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_paths(browser, service):
    (cookie,) = [each for each in browser.cookies.jar if each.name == "service-mlflow"]
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == (PREFIX, True)


def test_a_forged_callback_is_refused(browser, service):
    answer = httpx.get(f"{service}{PREFIX}oauth_callback?code=x&state=y")
    assert answer.status_code == 403
    assert "begun in another window" in answer.json()["error"]["what"]


def test_changes_by_cookie_need_the_token_of_the_page(browser):
    browser.get(PREFIX)
    token = browser.cookies["_xsrf"]
    assert browser.cookies["mlflow-xsrf"] == token
    assert browser.post(f"{PREFIX}me").status_code == 403
    assert browser.post(f"{PREFIX}me", headers={"X-XSRFToken": "0" * 64}).status_code == 403
    assert browser.post(f"{PREFIX}me", headers={"X-XSRFToken": token}).json()["name"] == "ada"
    assert browser.post(f"{PREFIX}me?_xsrf={token}").json()["name"] == "ada"


def test_scripts_of_other_pages_cannot_read_by_cookie(browser):
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": "*/*"}
    assert browser.get(f"{PREFIX}me", headers=script).status_code == 403
    picture = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Accept": "image/*"}
    assert browser.get(f"{PREFIX}me", headers=picture).status_code == 200


async def test_websockets(hub, service, browser):
    address = f"{service.replace('http', 'ws')}{PREFIX}socket"
    async with connect(address, additional_headers=bearer(hub.person("bob", ACCESS))) as socket:
        assert await socket.recv() == "bob"
    cookie = {"Cookie": f"service-mlflow={browser.cookies['service-mlflow']}"}
    async with connect(address, additional_headers=cookie, origin=service) as socket:
        assert await socket.recv() == "ada"
    for headers, origin in (({}, None), (cookie, "http://evil.example")):
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, additional_headers=headers, origin=origin).__aenter__()
        assert refused.value.response.status_code in (401, 403)


def test_the_identity_does_not_print_its_tokens():
    identity = sign_in.Identity("ada", "user", False, (), frozenset(), "SECRET", "SECRET")
    assert "SECRET" not in repr(identity)
