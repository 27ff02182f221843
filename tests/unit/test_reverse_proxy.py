"""The proxy streams, passes WebSockets on, and keeps the hub's credentials from the server behind."""

import asyncio
import json
import threading

import httpx
import pytest
from armillary_hub.web.reverse_proxy import ReverseProxy
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from support.asgi import running
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def reached(event: threading.Event) -> None:
    async with asyncio.timeout(10):
        while not event.is_set():  # noqa: ASYNC110 (set in another thread, where asyncio.Event does not reach)
            await asyncio.sleep(0.01)


class Upstream:
    """The server behind: tells what it got, streams, echoes."""

    def __init__(self):
        # Set and read across the servers' threads.
        self.release = threading.Event()
        self.left = threading.Event()
        self.first_part = threading.Event()
        routes = [
            Route("/a/seen", self.seen, methods=["GET", "POST"]),
            Route("/a/stream", self.stream),
            Route("/a/upload", self.upload, methods=["POST"]),
            Route("/a/cookie", lambda request: Response("x", headers={"set-cookie": "_xsrf=evil; Path=/"})),
            WebSocketRoute("/a/echo", self.echo),
        ]
        self.app = Starlette(routes=routes)

    async def seen(self, request):
        headers = [[name.decode(), value.decode()] for name, value in request.scope["headers"]]
        body = (await request.body()).decode()
        return JSONResponse(
            {"headers": headers, "query": request.url.query, "path": request.scope["raw_path"].decode(), "body": body}
        )

    async def stream(self, request):
        async def parts():
            try:
                yield b"first"
                await reached(self.release)
                yield b"last"
            finally:
                self.left.set()

        return StreamingResponse(parts())

    async def upload(self, request):
        size = 0
        async for part in request.stream():
            size += len(part)
            self.first_part.set()
        return JSONResponse({"size": size})

    async def echo(self, websocket):
        await websocket.accept(subprotocol="chat" if "chat" in websocket.scope["subprotocols"] else None)
        await websocket.send_json(dict(websocket.headers.items()))
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "close":
                await websocket.close(4321, "done")
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])


@pytest.fixture
def upstream():
    return Upstream()


@pytest.fixture(params=["port", "unix socket"])
def proxied(request, upstream, tmp_path):
    socket = tmp_path / "s" if request.param == "unix socket" else None
    with running(upstream.app, socket) as port:
        address = f"http://127.0.0.1:{port}" if socket is None else "http://upstream"
        with running(ReverseProxy(address, unix_socket=socket)) as public:
            yield f"http://127.0.0.1:{public}"


SECRETS = {"Cookie": "service-apps=SECRET", "Authorization": "Bearer SECRET", "X-XSRFToken": "SECRET"}


def test_credentials_never_reach_the_server_behind(proxied):
    seen = httpx.get(f"{proxied}/a/seen?token=SECRET&_xsrf=SECRET&keep=1", headers={**SECRETS, "X-Keep": "yes"})
    assert "SECRET" not in seen.text
    assert ["x-keep", "yes"] in seen.json()["headers"]
    assert seen.json()["query"] == "keep=1"


def test_cookies_of_the_server_behind_never_reach_the_browser(proxied):
    assert "set-cookie" not in httpx.get(f"{proxied}/a/cookie").headers


def test_extra_headers_replace_what_the_client_sent(upstream):
    with running(upstream.app) as port:
        proxy = ReverseProxy(f"http://127.0.0.1:{port}", extra_headers=lambda scope: {"X-User": "ada"})
        with running(proxy) as public:
            answer = httpx.get(f"http://127.0.0.1:{public}/a/seen", headers={"x-user": "mallory"})
    assert [value for name, value in answer.json()["headers"] if name == "x-user"] == ["ada"]


def test_hop_by_hop_headers_stay(proxied):
    headers = {"Connection": "x-private", "X-Private": "1", "TE": "trailers"}
    names = [name for name, _ in httpx.get(f"{proxied}/a/seen", headers=headers).json()["headers"]]
    assert not {"x-private", "te"} & set(names)


def test_path_and_body_pass_unchanged(proxied):
    answer = httpx.post(f"{proxied}/a/seen?q=%2F+a%26", content="höi").json()
    assert (answer["body"], answer["query"]) == ("höi", "q=%2F+a%26")
    assert httpx.get(f"{proxied}/a/%73een").json()["path"] == "/a/%73een"


async def test_the_answer_streams(proxied, upstream):
    async with httpx.AsyncClient(timeout=20) as client, client.stream("GET", f"{proxied}/a/stream") as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b"first"
        upstream.release.set()
        assert await anext(parts) == b"last"


async def test_a_client_that_leaves_ends_the_request_behind(proxied, upstream):
    async with httpx.AsyncClient(timeout=20) as client, client.stream("GET", f"{proxied}/a/stream") as answer:
        assert await anext(answer.aiter_raw()) == b"first"
    await reached(upstream.left)


async def test_the_upload_streams(proxied, upstream):
    async def parts():
        yield b"x" * 1000
        await reached(upstream.first_part)
        yield b"y" * 1000

    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(f"{proxied}/a/upload", content=parts())
    assert answer.json() == {"size": 2000}


def test_a_server_behind_that_is_gone_is_a_502(tmp_path):
    with running(ReverseProxy("http://app", unix_socket=tmp_path / "none")) as public:
        answer = httpx.get(f"http://127.0.0.1:{public}/")
    assert answer.status_code == 502
    assert answer.json()["error"]["what"] == "The server behind does not answer."


async def test_websockets_pass_both_ways_without_credentials(proxied):
    address = proxied.replace("http", "ws") + "/a/echo?token=SECRET"
    large = b"\x00" * (20 * 2**20)
    async with connect(address, additional_headers=SECRETS, subprotocols=["chat"], max_size=None) as socket:
        assert socket.subprotocol == "chat"
        headers = json.loads(await socket.recv())
        assert "SECRET" not in json.dumps(headers)
        assert headers["host"] == proxied.removeprefix("http://")
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send(large)
        assert await socket.recv() == large
        await socket.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "done")


async def test_a_websocket_that_the_server_behind_refuses_is_refused(proxied):
    with pytest.raises(InvalidStatus) as refused:
        await connect(proxied.replace("http", "ws") + "/a/nothing").__aenter__()
    assert refused.value.response.status_code == 403
