"""The GPU pool as Dask Gateway asks it, on behalf of the people whose workers need GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import httpx
from armillary_kernels.connection import Connection
from armillary_kernels.lease_client import AsyncLeaseClient
from armillary_kernels.leases import Lease, LeaseError, Person, PoolUnreachableError, QueuePlace
from armillary_kernels.processes import Process
from armillary_kernels.texts import translator
from armillary_kernels.together import Together

_ = translator(__file__)

#: Seconds in which a pool that died is started again.
RETURN_OF_POOL = 30.0

#: Seconds that one answer of the hub or the pool may take.
_PATIENCE = 10.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Allowance:
    """What bounds a person's GPUs: how many the machine has, and the person's quota at once; None for no quota."""

    devices: int
    quota: float | None = None

    @property
    def most(self) -> int:
        """GPUs that the person can have at once."""
        return self.devices if self.quota is None else min(self.devices, int(self.quota))


class GpuPoolDoor:
    """The GPU pool, asked with the gateway's own token.

    Parameters
    ----------
    pool_url, hub_api_url
        Where the pool and the hub answer.
    token
        The gateway's token with the hub.
    """

    def __init__(self, pool_url: str, hub_api_url: str, token: str) -> None:
        others = dict.fromkeys(("user", "public_url", "gateway_url", "apps_url", "tracking_url"), "")
        self._connection = Connection(pool_url=pool_url, hub_api_url=hub_api_url, token=token, **others)

    async def ask(
        self, lease_id: str, user: str, gpus: int, label: str, together: Together | None = None
    ) -> Lease | QueuePlace:
        """Ask for a worker of a user; this process holds the place in the queue. A pool that died is waited for."""
        async with self._http() as http:
            person = Person(user, await self._groups_of(http, user))
        async with AsyncLeaseClient(self._connection) as pool:
            ask = partial(pool.ask, "worker", gpus, label, Process.own(), lease_id=lease_id)
            return await _patiently(partial(ask, person=person, together=together))

    async def look(self, lease_id: str) -> Lease | QueuePlace:
        """Return what has become of a lease; a pool that died is waited for."""
        async with AsyncLeaseClient(self._connection) as pool:
            return await _patiently(partial(pool.look, lease_id))

    async def bind(self, lease_id: str, worker: Process) -> None:
        """Tie a lease to the worker that uses it; a pool that died is waited for."""
        async with AsyncLeaseClient(self._connection) as pool:
            await _patiently(partial(pool.bind, lease_id, worker))

    async def give_back(self, lease_id: str) -> None:
        """Return a lease, or leave the queue."""
        async with AsyncLeaseClient(self._connection) as pool:
            await pool.give_back(lease_id)

    async def allowance(self, user: str) -> Allowance:
        """Return what bounds a user's GPUs.

        Raises
        ------
        PoolUnreachableError
            If the pool, or the hub, does not answer.
        """
        try:
            async with self._http() as http:
                groups = await self._groups_of(http, user)
                person = {"user": user, "group": groups}
                pool = self._connection.pool_url
                books = (await http.get(f"{pool}/")).raise_for_status().json()
                quotas = (await http.get(f"{pool}/quotas", params=person)).raise_for_status().json()
        except httpx.HTTPError as error:
            raise PoolUnreachableError(_("The GPU pool does not answer."), _("Try again in a minute.")) from error
        return Allowance(len(books["devices"]), quotas["yours"]["gpus"])

    async def _groups_of(self, http: httpx.AsyncClient, user: str) -> tuple[str, ...]:
        """Return a user's groups, whose quotas count."""
        model = (await http.get(f"{self._connection.hub_api_url}/users/{user}")).raise_for_status().json()
        return tuple(model["groups"])

    def _http(self) -> httpx.AsyncClient:
        # Plain HTTP on loopback: to make a TLS context would take longer than the answer.
        headers = {**self._connection.headers, "Accept": "application/json"}
        return httpx.AsyncClient(headers=headers, timeout=_PATIENCE, trust_env=False, verify=False)  # noqa: S501 - no TLS


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while a pool that died is started anew."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RETURN_OF_POOL
    while True:
        try:
            return await ask()
        except PoolUnreachableError:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(0.5)


async def give_back_quietly(pool: GpuPoolDoor, lease_id: str) -> LeaseError | None:
    """Return a lease; a pool that does not answer sees the end of its holder by itself."""
    try:
        await pool.give_back(lease_id)
    except LeaseError as error:
        return error
    return None
