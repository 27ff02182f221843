"""How a person's server asks for the leases of its kernels: one client for the whole process.

A client is made once, not for each request: that takes longer than the pool takes to grant a lease. It blocks, in
threads of its own, for kernels may be started on several event loops, and a connection belongs to one.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, cached_property
from typing import ParamSpec, TypeVar

from armillary_kernels.connection import Connection
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.leases import Lease, Purpose, QueuePlace
from armillary_kernels.processes import Process

Answer = TypeVar("Answer")
Said = ParamSpec("Said")

#: Requests at a time. Each may take as long as `armillary_kernels.lease_client.TIMEOUT`.
_AT_ONCE = 8


class ServerClient:
    """`LeaseClient` for asyncio, on whichever event loop.

    Every method raises what `LeaseClient`'s do.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="GPU leases")

    async def ask(
        self, lease_id: str, purpose: Purpose, devices: int, label: str, holder: Process, memory: int | None = None
    ) -> Lease | QueuePlace:
        """Ask for GPUs."""
        return await self._do(lambda: self._pool.ask(purpose, devices, label, holder, memory=memory, lease_id=lease_id))

    async def look(self, lease_id: str) -> Lease | QueuePlace:
        """Return what has become of a lease."""
        return await self._do(lambda: self._pool.look(lease_id))

    async def bind(self, lease_id: str, holder: Process, in_use: bool = True) -> Lease | QueuePlace:
        """Tie a lease to another process."""
        return await self._do(lambda: self._pool.bind(lease_id, holder, in_use))

    async def give_back(self, lease_id: str) -> None:
        """Return a lease, or leave the queue."""
        await self._do(lambda: self._pool.give_back(lease_id))

    @cached_property
    def _pool(self) -> LeaseClient:
        client = LeaseClient(self._connection)
        atexit.register(client.close)
        return client

    async def _do(self, request: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, request)


@cache
def server_client(connection: Connection) -> ServerClient:
    """Return this process's client; there is one connection to a hub in a server."""
    return ServerClient(connection)
