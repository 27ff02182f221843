"""A kernel in a person's server, used over HTTP and WebSocket as JupyterLab does."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from support import patiently
from support.deployment import Deployment

#: A connection to a kernel: it is there only once the kernel has answered.
SOCKET: dict[str, Any] = {"max_size": None, "open_timeout": 120, "ping_timeout": None}


@dataclass
class RemoteKernel:
    """A kernel of a person, reached through the proxy."""

    server_url: str
    token: str
    id: str

    @classmethod
    def start(cls, deployment: Deployment, user: str, name: str = "python3") -> RemoteKernel:
        """Start the person's server if need be, and a kernel in it."""
        server_url, token = deployment.start_server(user), deployment.token(user)
        headers = {"Authorization": f"Bearer {token}"}
        response = httpx.post(f"{server_url}api/kernels", headers=headers, json={"name": name}, timeout=60)
        return cls(server_url, token, response.raise_for_status().json()["id"])

    def run(self, code: str, patience: float = 60) -> str:
        """Run code and return what it prints."""
        with self._channels() as channels:
            request = self._send(channels, code)
            return "".join(self._outputs(channels, request, patience))

    def begin(self, code: str) -> None:
        """Run code and do not wait for it."""
        with self._channels() as channels:
            request = self._send(channels, code)
            for message in self._messages(channels, request, 30):
                if message["msg_type"] == "execute_input":
                    return

    def state(self) -> str:
        """Return ``idle``, ``busy`` or ``starting``."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return patiently.get(f"{self.server_url}api/kernels/{self.id}", headers=headers).json()["execution_state"]

    @contextlib.contextmanager
    def _channels(self) -> Iterator[ClientConnection]:
        url = self.server_url.replace("http", "ws", 1) + f"api/kernels/{self.id}/channels"
        with connect(url, additional_headers={"Authorization": f"Bearer {self.token}"}, **SOCKET) as channels:
            yield channels

    def _send(self, channels: ClientConnection, code: str) -> str:
        request = uuid.uuid4().hex
        header = {
            "msg_id": request,
            "msg_type": "execute_request",
            "session": uuid.uuid4().hex,
            "username": "",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        channels.send(json.dumps(message))
        return request

    def _messages(self, channels: ClientConnection, request: str, patience: float) -> Iterator[dict[str, Any]]:
        while True:
            message = json.loads(channels.recv(timeout=patience))
            if message["parent_header"].get("msg_id") == request:
                yield message

    def _outputs(self, channels: ClientConnection, request: str, patience: float) -> Iterator[str]:
        for message in self._messages(channels, request, patience):
            content = message["content"]
            if message["msg_type"] == "stream":
                yield content["text"]
            elif message["msg_type"] == "error":
                raise AssertionError("\n".join(content["traceback"]))
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return
