"""Asking the GPU pool for leases, from kernels, workers, apps and jobs.

`LeaseClient` and `AsyncLeaseClient` say the same things to the pool, one blocking and one not.

An answer may be lost after the pool has done what was asked. Who chooses the id of a lease (`new_lease_id`) may ask
with it again: the pool answers with the lease as it stands. Giving back one that the pool does not know is no error.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from armillary_kernels.connection import Connection
from armillary_kernels.leases import (
    Lease,
    LeaseLostError,
    LeaseRefusedError,
    Person,
    PoolFaultError,
    PoolUnreachableError,
    Purpose,
    QueuePlace,
    new_lease_id,
    read_lease,
)
from armillary_kernels.plain_texts import plain
from armillary_kernels.processes import Process
from armillary_kernels.texts import own_language, translator
from armillary_kernels.together import Together

if TYPE_CHECKING:
    import httpx  # 50 to 100 ms, which each function below spends when it needs to: a kernel starts without

_ = translator(__file__)

Answer = TypeVar("Answer")

#: Seconds that one request to the pool, which is on this machine, may take.
TIMEOUT = 5.0

#: Characters of a label, which is often a file's name, and so may hold anything.
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class _Call:
    """One request to the pool, and what becomes of its answer."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    read: Callable[[dict[str, Any]], Any] = field(default=lambda answer: None)
    may_be_unknown: bool = False


@cache
def _tls() -> ssl.SSLContext:
    """Return the TLS context, which takes longer to make than a lease takes to get."""
    import httpx

    return httpx.create_ssl_context()


def _client_options(connection: Connection) -> dict[str, Any]:
    # trust_env=False: a person's HTTP_PROXY must not lead requests off this machine, token and all.
    return {
        "base_url": _address(connection),
        "headers": {**connection.headers, "Accept": "application/json"},
        "timeout": TIMEOUT,
        "trust_env": False,
        "verify": _tls() if connection.pool_url.startswith("https:") else False,
    }


def _address(connection: Connection) -> httpx.URL:
    import httpx

    try:
        url = httpx.URL(f"{connection.pool_url}/")
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        what = _("'{url}' is no address of a GPU pool.", url=connection.pool_url)
        raise PoolUnreachableError(what, _("Check ARMILLARY_POOL_URL."))
    return url


def _process(process: Process) -> dict[str, int]:
    return {"pid": process.pid, "start_time": process.start_time}


def _ask(
    purpose: Purpose,
    devices: int,
    label: str,
    holder: Process,
    memory: int | None = None,
    person: Person | None = None,
    lease_id: str | None = None,
    together: Together | None = None,
) -> _Call:
    body: dict[str, Any] = {
        "id": lease_id or new_lease_id(),
        "purpose": purpose,
        "devices": devices,
        "label": plain(label)[:_LONGEST_LABEL],
        "holder": _process(holder),
    }
    if memory is not None:
        body["memory"] = memory
    if person is not None:
        body |= {"user": person.name, "groups": list(person.groups)}
    if together is not None:
        body["together"] = {"id": together.id, "size": together.size}
    return _Call("POST", "leases", body, read_lease)


def _look(lease_id: str) -> _Call:
    return _Call("GET", f"leases/{lease_id}", read=read_lease)


def _bind(lease_id: str, holder: Process, in_use: bool) -> _Call:
    return _Call("PATCH", f"leases/{lease_id}", {"holder": _process(holder), "in_use": in_use}, read_lease)


def _note_activity(lease_id: str, busy: bool) -> _Call:
    return _Call("PUT", f"leases/{lease_id}/activity", {"busy": busy}, read_lease)


def _resume(lease_id: str) -> _Call:
    return _Call("POST", f"leases/{lease_id}/resume", read=read_lease)


def _gpu_memories() -> _Call:
    return _Call("GET", "", read=lambda answer: tuple(one["memory"] // 2**20 for one in answer["devices"]))


def _give_back(lease_id: str) -> _Call:
    return _Call("DELETE", f"leases/{lease_id}", may_be_unknown=True)


def _request(call: _Call) -> dict[str, Any]:
    language = {"Accept-Language": own_language()}  # whom a shared client asks for is not known when it is made
    return {"method": call.method, "url": call.path, "json": call.body, "headers": language}


def _read(call: _Call, response: httpx.Response) -> Any:
    answer = _json(response)
    if response.is_success:
        try:
            return call.read(answer)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise _not_a_pool(response) from None
    said = _said(answer)
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _at_fault(response) if said is None else PoolFaultError(*said)
    if said is None:
        raise _not_a_pool(response)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise LeaseRefusedError(
            said[0], _("Check JUPYTERHUB_API_TOKEN. A server that is started anew has a new token.")
        )
    if call.may_be_unknown and response.status_code == HTTPStatus.NOT_FOUND:
        return None
    lost = response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
    raise (LeaseLostError if lost else LeaseRefusedError)(*said)


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _said(answer: Any) -> tuple[str, str] | None:
    """Return what went wrong and what to do, where the pool itself says it; the hub and proxies say it otherwise."""
    try:
        error = answer["error"]
        return str(error["what"]), str(error.get("remedy", ""))
    except (LookupError, TypeError, AttributeError):
        return None


def _at_fault(response: httpx.Response) -> PoolUnreachableError:
    what = _("The GPU pool answers {status}.", status=response.status_code)
    return PoolUnreachableError(what, _("Its log says why."))


def _not_a_pool(response: httpx.Response) -> PoolUnreachableError:
    what = _("{url} is not a GPU pool: it answers {status}.", url=response.url, status=response.status_code)
    return PoolUnreachableError(what, _("Check ARMILLARY_POOL_URL."))


def _unreachable(connection: Connection, error: httpx.HTTPError | OSError) -> PoolUnreachableError:
    reason = str(error) or type(error).__name__
    what = _("The GPU pool at {url} does not answer ({reason}).", url=connection.pool_url, reason=reason)
    return PoolUnreachableError(what, _("Tell the admin."))


class LeaseClient:
    """The GPU pool, asked by blocking calls. A context manager.

    Every method raises `PoolUnreachableError`, `LeaseRefusedError` or `LeaseLostError`.
    """

    def __init__(self, connection: Connection) -> None:
        import httpx

        self._connection = connection
        self._client = httpx.Client(**_client_options(connection))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        purpose: Purpose,
        devices: int,
        label: str,
        holder: Process,
        *,
        memory: int | None = None,
        lease_id: str | None = None,
    ) -> Lease | QueuePlace:
        """Ask for GPUs, or for ``memory`` MiB of one; a `QueuePlace` must be looked at every few seconds."""
        return self._send(_ask(purpose, devices, label, holder, memory, lease_id=lease_id))

    def look(self, lease_id: str) -> Lease | QueuePlace:
        """Return what has become of a lease."""
        return self._send(_look(lease_id))

    def bind(self, lease_id: str, holder: Process, in_use: bool = True) -> Lease | QueuePlace:
        """Tie a lease to another process: to the one that uses it, or to one that waits for it."""
        return self._send(_bind(lease_id, holder, in_use))

    def note_activity(self, lease_id: str, busy: bool) -> Lease | QueuePlace:
        """Say whether the process of a lease is busy; while it is, the pool does not suspend it."""
        return self._send(_note_activity(lease_id, busy))

    def resume(self, lease_id: str) -> Lease | QueuePlace:
        """Ask for the GPUs of a suspended lease again."""
        return self._send(_resume(lease_id))

    def give_back(self, lease_id: str) -> None:
        """Return a lease, or leave the queue."""
        self._send(_give_back(lease_id))

    def gpu_memories(self) -> tuple[int, ...]:
        """Return the MiB of each GPU of this deployment."""
        return self._send(_gpu_memories())

    def leave(self, lease_id: str) -> None:
        """Leave the queue; refused where the GPUs are there already."""
        self._send(_Call("POST", f"leases/{lease_id}/leave"))

    def end(self, lease_id: str) -> None:
        """End a lease, and the process that uses its GPUs."""
        self._send(_Call("POST", f"leases/{lease_id}/release"))

    def suspend(self, lease_id: str) -> None:
        """Suspend a lease now: its process keeps its state, and its GPUs are others'."""
        self._send(_Call("POST", f"leases/{lease_id}/suspend"))

    def state(self, read: Callable[[dict[str, Any]], Answer]) -> Answer:
        """Return what ``read`` makes of the books; where it finds them in another shape, that was no GPU pool.

        They have ``devices``, ``leases`` and ``queue``, as the pool's API describes them.
        """
        return self._send(_Call("GET", "", read=read))

    def utilisation(self, read: Callable[[dict[str, Any]], Answer]) -> Answer:
        """Return what ``read`` makes of the last hour of each GPU, as `state` does."""
        return self._send(_Call("GET", "utilisation", read=read))

    def _send(self, call: _Call) -> Any:
        import httpx

        try:
            response = self._client.request(**_request(call))
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable(self._connection, error) from None
        return _read(call, response)


class AsyncLeaseClient:
    """`LeaseClient` for asyncio. An asynchronous context manager."""

    def __init__(self, connection: Connection) -> None:
        import httpx

        self._connection = connection
        self._client = httpx.AsyncClient(**_client_options(connection))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(
        self,
        purpose: Purpose,
        devices: int,
        label: str,
        holder: Process,
        *,
        memory: int | None = None,
        person: Person | None = None,
        lease_id: str | None = None,
        together: Together | None = None,
    ) -> Lease | QueuePlace:
        """Ask for GPUs, as a service for a person; see `LeaseClient.ask`."""
        return await self._send(_ask(purpose, devices, label, holder, memory, person, lease_id, together))

    async def look(self, lease_id: str) -> Lease | QueuePlace:
        """Return what has become of a lease."""
        return await self._send(_look(lease_id))

    async def bind(self, lease_id: str, holder: Process, in_use: bool = True) -> Lease | QueuePlace:
        """Tie a lease to another process; see `LeaseClient.bind`."""
        return await self._send(_bind(lease_id, holder, in_use))

    async def give_back(self, lease_id: str) -> None:
        """Return a lease, or leave the queue."""
        await self._send(_give_back(lease_id))

    async def _send(self, call: _Call) -> Any:
        import httpx

        try:
            response = await self._client.request(**_request(call))
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable(self._connection, error) from None
        return _read(call, response)
