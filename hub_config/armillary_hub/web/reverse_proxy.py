"""Passing requests on to a server behind ours: HTTP, streamed both ways, and WebSockets.

What runs behind belongs to a user or to a library; it never sees the hub's cookies or tokens, and it cannot set
cookies in the browser. The chosen upstream listens on loopback or on a Unix socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from armillary_hub.web import xsrf
from armillary_hub.web.errors import error_response
from armillary_hub.web.server import LARGEST_MESSAGE

Headers = list[tuple[bytes, bytes]]

#: RFC 9110 §7.6.1 and its predecessors: meant for one connection only.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
_HANDSHAKE = frozenset(
    b"host sec-websocket-key sec-websocket-version sec-websocket-extensions sec-websocket-protocol".split()
)
_CREDENTIALS = frozenset((b"cookie", b"authorization", xsrf.HEADER.encode(), b"x-csrftoken"))
_CREDENTIAL_ARGUMENTS = frozenset(("token", xsrf.ARGUMENT))

#: A close frame may not carry these (RFC 6455 §7.4.1).
_UNSENDABLE_CLOSE_CODES = frozenset((1004, 1005, 1006, 1015))


class ReverseProxy:
    """An ASGI application that passes every request on, path and query unchanged.

    Parameters
    ----------
    upstream
        Address of the server behind, such as ``"http://127.0.0.1:8123"``. With a Unix socket the host is a mere name.
    unix_socket
        The socket that the server behind listens on, if it does not listen on a port.
    extra_headers
        Headers to add for the server behind, made from the request's ASGI scope.
    """

    def __init__(
        self,
        upstream: str,
        *,
        unix_socket: Path | None = None,
        extra_headers: Callable[[Scope], dict[str, str]] | None = None,
    ) -> None:
        self._upstream = httpx.URL(upstream)
        self._unix_socket = unix_socket
        self._extra_headers = extra_headers
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request or WebSocket on."""
        if scope["type"] == "http":
            await self._pass_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._pass_websocket(scope, receive, send)

    async def close(self) -> None:
        """Close the connections kept open to the server behind."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # HTTP ------------------------------------------------------------------------------------------------

    @property
    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            socket = str(self._unix_socket) if self._unix_socket else None
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
            transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits, trust_env=False)
            timeout = httpx.Timeout(None, connect=10)
            self._client = httpx.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False)
        return self._client

    async def _pass_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        body_read = asyncio.Event()
        request = self._request(scope, _body(receive, body_read))
        if request.stream is None or not _has_body(scope["headers"]):
            body_read.set()
        passing = asyncio.create_task(self._pass_response(scope, request, receive, send))
        leaving = asyncio.create_task(_disconnected(receive, body_read))
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, leaving):
                if not task.done():
                    task.cancel()
            results = await asyncio.gather(passing, leaving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _pass_response(self, scope: Scope, request: httpx.Request, receive: Receive, send: Send) -> None:
        try:
            response = await self._http.send(request, stream=True)
        except httpx.TransportError:
            refusal = error_response(HTTPConnection(scope), 502, "The server behind does not answer.", "Try again.")
            await refusal(scope, receive, send)
            return
        try:
            headers = self._response_headers(response.headers.raw)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    def _request(self, scope: Scope, body: AsyncIterator[bytes]) -> httpx.Request:
        headers = self._request_headers(scope)
        content = body if _has_body(scope["headers"]) else None
        return httpx.Request(scope["method"], self._target(scope), headers=headers, content=content)

    def _target(self, scope: Scope) -> httpx.URL:
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        query = _without_credentials(scope["query_string"])
        base = self._upstream.raw_path.rstrip(b"/")
        return self._upstream.copy_with(raw_path=base + path + (b"?" + query if query else b""))

    def _request_headers(self, scope: Scope) -> Headers:
        dropped = _HOP_BY_HOP | _CREDENTIALS | _named_by_connection(scope["headers"])
        extra = self._extra_headers(scope) if self._extra_headers else {}
        added = [(name.lower().encode(), value.encode()) for name, value in extra.items()]
        dropped |= {name for name, _ in added}
        return [(name, value) for name, value in scope["headers"] if name.lower() not in dropped] + added

    def _response_headers(self, raw: Iterable[tuple[bytes, bytes]]) -> Headers:
        raw = list(raw)
        dropped = _HOP_BY_HOP | {b"set-cookie"} | _named_by_connection(raw)
        return [(name.lower(), value) for name, value in raw if name.lower() not in dropped]

    # WebSocket -------------------------------------------------------------------------------------------

    async def _pass_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            upstream = await self._open_websocket(scope)
        except (OSError, TimeoutError, WebSocketException) as error:
            await _refuse_websocket(scope, send, error)
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
            await _relay(upstream, receive, send)
        finally:
            await upstream.close()

    async def _open_websocket(self, scope: Scope) -> ClientConnection:
        target = self._target(scope)
        # The browser's own Host, which a server behind compares with the Origin; the connection goes to the upstream.
        host = HTTPConnection(scope).headers.get("host", target.netloc.decode("ascii"))
        address = f"ws://{host}{target.raw_path.decode('ascii')}"
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._request_headers(scope)
            if name not in _HANDSHAKE
        ]
        options: dict[str, Any] = {
            "additional_headers": headers,
            "subprotocols": scope.get("subprotocols") or None,
            "max_size": LARGEST_MESSAGE,
            "compression": None,
            "ping_interval": None,
            "user_agent_header": None,
        }
        if self._unix_socket is not None:
            return await unix_connect(str(self._unix_socket), address, **options)
        return await connect(address, proxy=None, host=target.host, port=target.port or 80, **options)


def _has_body(headers: Headers) -> bool:
    names = {name.lower(): value for name, value in headers}
    return b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    values = (value for name, value in headers if name.lower() == b"connection")
    return frozenset(part.strip().lower() for value in values for part in value.split(b","))


def _without_credentials(query: bytes) -> bytes:
    """Drop tokens from a query; return all others exactly as they came."""
    pairs = parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True)
    if not any(name in _CREDENTIAL_ARGUMENTS for name, _ in pairs):
        return query
    return urlencode([pair for pair in pairs if pair[0] not in _CREDENTIAL_ARGUMENTS]).encode()


async def _body(receive: Receive, body_read: asyncio.Event) -> AsyncIterator[bytes]:
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise httpx.WriteError("The client left before its request was complete.")
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return
    finally:
        body_read.set()


async def _disconnected(receive: Receive, body_read: asyncio.Event) -> None:
    """Return when the client has gone; the body's reader owns ``receive`` until the body has been read."""
    await body_read.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_websocket(scope: Scope, send: Send, error: Exception) -> None:
    status = error.response.status_code if isinstance(error, InvalidStatus) else 502
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1013})


async def _relay(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    """Copy messages both ways until either side closes."""
    tasks = {asyncio.create_task(_to_upstream(upstream, receive)), asyncio.create_task(_to_client(upstream, send))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _to_upstream(upstream: ClientConnection, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            await upstream.close(_sendable(message.get("code")), message.get("reason") or "")
            return
        text = message.get("text")
        try:
            await upstream.send(text if text is not None else message["bytes"])
        except ConnectionClosed:
            return


async def _to_client(upstream: ClientConnection, send: Send) -> None:
    try:
        async for message in upstream:
            await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
    except ConnectionClosed:
        pass
    await send({"type": "websocket.close", "code": _sendable(upstream.close_code), "reason": upstream.close_reason})


def _sendable(code: int | None) -> int:
    if code is None or code == 1005:
        return 1000
    return 1011 if code in _UNSENDABLE_CLOSE_CODES else code
