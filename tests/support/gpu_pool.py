"""A real GPU pool in a process of its own, for tests in which a hub is not the point.

Who asks is what the token says: ``alice``, ``alice@class`` for a member of a group, ``admin:root``, or a service:
``service:mlflow``, or ``asking:dask-gateway`` for one that may ask for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
from armillary_kernels.connection import Connection
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

SERVICE = "gpu-pool"

#: In the environment of a pool's process: its database, where that is no file.
_URL = "POOL_DATABASE_URL"

#: Seconds that NVML may take on a machine that is busy with tests: it is not what they are about.
NVML_PATIENCE = 30.0


class TokenIsTheName:
    """A sign-in that believes the token."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        from armillary_hub.roles import LEASE_FOR_OTHERS
        from armillary_hub.web.identity import Identity

        if scope["type"] != "http" or scope["path"].endswith("/health"):
            await self.app(scope, receive, send)
            return
        token = HTTPConnection(scope).headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            await JSONResponse({"error": {"what": "No token.", "remedy": ""}}, 401)(scope, receive, send)
            return
        kind, _, named = token.rpartition(":")
        name, _, group = named.partition("@")
        scopes = {"asking": [LEASE_FOR_OTHERS], "watching": ["read:metrics"]}
        identity = Identity(
            name=name,
            kind="service" if kind in ("service", *scopes) else "user",
            admin=kind == "admin",
            groups=(group,) if group else (),
            scopes=frozenset(scopes.get(kind, ())),
            token=token,
        )
        scope.setdefault("state", {})["identity"] = identity
        await self.app(scope, receive, send)


class LateAnswers:
    """Asks are booked, but answered only when a file is gone."""

    def __init__(self, app, file):
        self.app, self.file = app, Path(file)

    async def __call__(self, scope, receive, send):
        async def late(message):
            while self.file.exists():  # noqa: ASYNC110 - another process removes it
                await asyncio.sleep(0.02)
            await send(message)

        is_ask = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith("/leases")
        await self.app(scope, receive, late if is_ask else send)


def serve_pool(port, database, simulate_gpus, idle_after, cuda):
    from armillary_hub.pool.pool import GpuPool
    from armillary_hub.pool.service import pool_app
    from armillary_hub.pool.situation import Rules
    from armillary_hub.pool.store import LeaseStore
    from armillary_hub.web.server import serve

    own = os.getuid()
    url = os.environ.get(_URL) or f"sqlite:///{database}"
    store = LeaseStore(url, rules=Rules(idle_after=idle_after))
    inventory, suspender = gpus_of(simulate_gpus, cuda)
    pool = GpuPool(store, inventory, lambda user: own, suspender=suspender)
    middleware = [Middleware(TokenIsTheName), Middleware(LateAnswers, file=late_file(database))]
    serve(pool_app(pool, middleware, sample_interval=1.0 if cuda else 5.0), port=port)


def gpus_of(simulate_gpus, cuda):
    """The inventory and the suspender: of pretend GPUs, of real ones, or of those in a `FakeGpus`' folder.

    ``"held:<folder>"``: of pretend ones, with a `HeldSuspender`.
    """
    from armillary_hub.pool.cuda_calls import Patience
    from armillary_hub.pool.cuda_suspender import CudaSuspender
    from armillary_hub.pool.devices import NvmlInventory, inventory_of
    from armillary_hub.pool.host_memory import HostMemory
    from armillary_hub.pool.suspender import SimulatedSuspender

    if not cuda:
        return inventory_of(simulate_gpus), SimulatedSuspender()
    if cuda.startswith("held:"):
        from support.held_suspender import HeldSuspender

        return inventory_of(simulate_gpus), HeldSuspender(cuda.removeprefix("held:"))
    if cuda == "real":
        inventory = NvmlInventory(patience=NVML_PATIENCE)
        return inventory, CudaSuspender(inventory)
    from support.fake_cuda_driver import command

    inventory, patience = NvmlInventory(command(cuda, "nvml"), NVML_PATIENCE), Patience(lock=0.5, copy=3.0)
    memory = HostMemory(margin=1024, root=Path(cuda) / "host")
    return inventory, CudaSuspender(
        inventory, memory, command=command(cuda, "cuda"), patience=patience, room_patience=1.0
    )


def late_file(database):
    return Path(f"{database}.late")


def eventually(condition, within=60.0, what="the condition"):
    """Return the first truthy value of ``condition()``; fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(httpx.TransportError):
            if value := condition():
                return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within} s")
        time.sleep(0.05)


class PoolProcess:
    """The pool's process, which may be killed and started again on the same books."""

    def __init__(self, folder: Path, simulate_gpus=2, idle_after=600.0, cuda="", database_url=""):
        self.database_url = database_url
        self.database = folder / "gpu-pool.sqlite"
        self.log = folder / "gpu-pool.log"
        self.simulate_gpus, self.idle_after, self.cuda = simulate_gpus, idle_after, cuda
        from support.ports import free_port  # not in the pool's own process, which imports this module, too

        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/services/{SERVICE}"
        self.process = None

    def start(self):
        arguments = [str(self.port), str(self.database), str(self.simulate_gpus), str(self.idle_after), str(self.cuda)]
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.gpu_pool", *arguments],
                env=os.environ | {"PYTHONPATH": path, _URL: self.database_url},
                stdout=log,
                stderr=log,
            )
        eventually(self.is_ready, within=60, what=f"a pool at {self.url}")

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def late_answers(self):
        """Let the pool hear what is asked of it, and keep its answers to itself."""
        late_file(self.database).touch()
        try:
            yield
        finally:
            late_file(self.database).unlink()

    def connection(self, user):
        return Connection(
            user=user.rpartition(":")[2],
            public_url="http://127.0.0.1:1",
            hub_api_url="http://127.0.0.1:1/hub/api",
            pool_url=self.url,
            gateway_url="",
            apps_url="",
            tracking_url="",
            token=user,
        )

    def environment(self, user):
        """What the spawner tells a user's server."""
        connection = self.connection(user)
        return {
            "JUPYTERHUB_USER": connection.user,
            "JUPYTERHUB_API_TOKEN": connection.token,
            "JUPYTERHUB_API_URL": connection.hub_api_url,
            "ARMILLARY_PUBLIC_URL": connection.public_url,
            "ARMILLARY_POOL_URL": connection.pool_url,
            "ARMILLARY_GATEWAY_URL": connection.gateway_url,
            "ARMILLARY_APPS_URL": connection.apps_url,
            "MLFLOW_TRACKING_URI": connection.tracking_url,
        }

    def state(self, user="admin:root"):
        headers = {"Authorization": f"Bearer {user}"}
        return httpx.get(f"{self.url}/", headers=headers, trust_env=False, timeout=30).raise_for_status().json()

    def history(self):
        """Return the last changes of all leases, oldest first."""
        headers = {"Authorization": "Bearer admin:root"}
        answer = httpx.get(f"{self.url}/history", headers=headers, trust_env=False, timeout=30)
        return answer.raise_for_status().json()["changes"]

    def clear(self, user="admin:root"):
        """End every lease and ask."""
        state = self.state(user)
        for lease in [*state["queue"], *state["leases"]]:
            headers = {"Authorization": f"Bearer {user}"}
            httpx.delete(f"{self.url}/leases/{lease['id']}", headers=headers, trust_env=False, timeout=30)

    def holders(self):
        """Return who holds each GPU: index to user."""
        return {index: lease["user"] for lease in self.state()["leases"] for index in lease["devices"]}


if __name__ == "__main__":
    serve_pool(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
