"""Many people's kernels, started at once through the hub; in what order they got GPUs, the pool's audit tells."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from datetime import datetime

import httpx
from websockets.asyncio.client import connect

#: Uses its GPU for a moment.
CELL = "import os, time; time.sleep(0.2); print(os.environ['CUDA_VISIBLE_DEVICES'])"


class Crowd:
    """People, each of whom starts some kernels at once, runs one cell in each, and ends it.

    Parameters
    ----------
    deployment
        A `support.deployment.Deployment`.
    people
        Their names; their servers are started.
    kernels
        How many each starts.
    """

    def __init__(self, deployment, people, kernels):
        self.kernels = kernels
        self.addresses = {name: deployment.start_server(name) for name in people}
        self.tokens = {name: deployment.token(name) for name in people}

    def run(self):
        """Return what each cell printed."""
        return asyncio.run(self._run())

    async def _run(self):
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=300, limits=limits) as client:
            one_each = [self._use_kernel(client, name) for _ in range(self.kernels) for name in self.addresses]
            return await asyncio.gather(*one_each)

    async def _use_kernel(self, client, name):
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        kernels = f"{self.addresses[name]}api/kernels"
        answer = await client.post(kernels, headers=headers, json={"name": "python-torch"})
        kernel = f"{kernels}/{answer.raise_for_status().json()['id']}"
        channels = f"{kernel}/channels".replace("http", "ws", 1)
        async with connect(channels, additional_headers=headers, open_timeout=120, ping_timeout=None) as socket:
            printed = await _run_cell(socket)
        (await client.delete(kernel, headers=headers)).raise_for_status()
        return printed


async def _run_cell(socket):
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex}
    header |= {"username": "", "version": "5.4"}
    content = {"code": CELL, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.send(json.dumps(message))
    printed = ""
    while True:
        answer = json.loads(await asyncio.wait_for(socket.recv(), 300))
        if answer["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        assert answer["msg_type"] != "error", answer["content"]
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            return printed.strip()


class Order:
    """Who got which GPUs in what order, from an admin's history of the pool; that it was fair is asserted.

    Parameters
    ----------
    changes
        Lines of the audit, the oldest first.
    gpus
        How many there are.
    quota
        GPUs at once that everybody may have.
    """

    def __init__(self, changes, gpus, quota):
        self._gpus, self._quota = gpus, quota
        self._waiting, self._holding, self._asked = {}, {}, {}
        self.granted, self.waits = [], []
        for change in changes:
            self._replay(change)
        assert not self._waiting
        assert not self._holding, "everything was given back"

    def _replay(self, change):
        lease, user = change["lease"], change["user"]
        if change["after"] == "queued" and change["before"] is None:
            self._waiting[lease], self._asked[lease] = user, datetime.fromisoformat(change["at"])
        elif change["after"] == "granted" and lease in self._waiting:
            del self._waiting[lease]
            self._check_turn(user)
            self._holding[lease] = (user, tuple(change["devices"]))
            self.granted.append(user)
            self.waits.append((datetime.fromisoformat(change["at"]) - self._asked[lease]).total_seconds())
            self._check_devices()
        elif change["after"] == "released":
            self._waiting.pop(lease, None)
            self._holding.pop(lease, None)

    def _check_turn(self, user):
        """Nobody was passed over who held fewer GPUs and waited."""
        held = Counter(holder for holder, _ in self._holding.values())
        assert held[user] < self._quota, f"{user} got more than the quota"
        for other in set(self._waiting.values()):
            assert held[other] >= held[user], f"{user} got a GPU before {other}, who had fewer"

    def _check_devices(self):
        held = [device for _, devices in self._holding.values() for device in devices]
        assert len(held) == len(set(held)) <= self._gpus, "each GPU is held once"


def history(deployment, admin_token, after=0):
    """Return the lines of the audit with greater numbers, the oldest first."""
    headers, lines, before = {"Authorization": f"Bearer {admin_token}"}, [], None
    while True:
        page = httpx.get(
            f"{deployment.url}/services/gpu-pool/history",
            params={"before": before} if before else {},
            headers=headers,
            timeout=60,
        )
        found = page.raise_for_status().json()["changes"]
        lines = [line for line in found if line["number"] > after] + lines
        if not found or found[0]["number"] <= after + 1:
            return lines
        before = found[0]["number"]
