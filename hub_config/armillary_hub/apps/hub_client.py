"""What the apps service asks of the hub's REST API, with its own narrow token."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote

import httpx
from armillary_kernels.texts import translator

from armillary_hub.apps import ROBOTS
from armillary_hub.apps.access import Access
from armillary_hub.settings import Settings
from armillary_hub.web.errors import WebError

_ = translator(__file__)

#: Seconds that an app may take to start or to stop.
_PATIENCE = 150.0


class HubAway(WebError):  # noqa: N818 - a state of the hub, which comes back by itself
    """The hub does not answer."""

    def __init__(self) -> None:
        super().__init__(503, _("The hub does not answer."), _("Try again in a moment."), {"Retry-After": "3"})


class HubClient:
    """The hub, as seen by the apps service."""

    def __init__(self, settings: Settings) -> None:
        headers = {"Authorization": f"Bearer {settings.secret('apps')}"}
        self._client = httpx.AsyncClient(
            base_url=settings.hub_api_url, headers=headers, timeout=60, trust_env=False, follow_redirects=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def add_robot(self, robot: str) -> None:
        """Make sure that a robot user exists."""
        await self._send("POST", f"/users/{robot}", accept=(201, 409))
        await self._send("POST", f"/groups/{ROBOTS}/users", json={"users": [robot]})

    async def remove_robot(self, robot: str) -> None:
        """Remove a robot user, its shares and its Unix account with it."""
        await self._send("DELETE", f"/users/{robot}", accept=(204, 404))

    async def unknown(self, access: Access) -> list[str]:
        """Return the people and groups of an access that the hub doesn't know."""
        asked = [("/users/", name) for name in access.users] + [("/groups/", name) for name in access.groups]
        answers = [
            await self._send("GET", f"{kind}{quote(name, safe='')}", accept=(200, 403, 404)) for kind, name in asked
        ]
        return [name for (_, name), answer in zip(asked, answers, strict=True) if answer.status_code != 200]

    async def groups(self, person: str) -> tuple[str, ...]:
        """Return a person's groups; none for somebody whom the hub no longer knows."""
        answer = await self._send("GET", f"/users/{quote(person, safe='')}", accept=(200, 404))
        return tuple(answer.json().get("groups", ())) if answer.status_code == 200 else ()

    async def share(self, robot: str, access: Access) -> None:
        """Let exactly these people and groups open a robot's server."""
        shares = (await self._send("GET", f"/shares/{robot}/", params={"limit": 10_000})).json()["items"]
        have = {(kind, share[kind]["name"]) for share in shares for kind in ("user", "group") if share[kind]}
        want = {("user", name) for name in access.users} | {("group", name) for name in access.groups}
        for kind, name in sorted(want - have):
            await self._send("POST", f"/shares/{robot}/", json={kind: name})
        for kind, name in sorted(have - want):
            await self._send("PATCH", f"/shares/{robot}/", json={kind: name})

    async def server(self, robot: str) -> dict[str, Any]:
        """Return the hub's model of a robot's server; empty when it never ran."""
        response = await self._send("GET", f"/users/{robot}/server", accept=(200, 404))
        model: dict[str, Any] = response.json() if response.status_code == 200 else {}
        return model

    async def start(self, robot: str) -> bool:
        """Start a robot's server unless it runs, and wait; returns whether it answers."""
        deadline = time.monotonic() + _PATIENCE
        # 400: it runs already, or is stopping; 500: it ended at once.
        response = await self._send("POST", f"/users/{robot}/server", accept=(201, 202, 400, 500))
        if response.status_code == 500:
            return False
        while time.monotonic() < deadline:
            model = await self.server(robot)
            if model.get("ready"):
                return True
            if not model.get("pending"):
                return False
            await asyncio.sleep(0.3)
        return False

    async def stop(self, robot: str) -> None:
        """Stop a robot's server and wait until it has ended."""
        deadline = time.monotonic() + _PATIENCE
        while (model := await self.server(robot)) and not model.get("stopped", True):
            if time.monotonic() > deadline:
                raise WebError(504, _("The server of {name} does not stop.", name=robot), _("Ask an admin to stop it."))
            if model.get("pending") != "stop":
                await self._send("DELETE", f"/users/{robot}/server", accept=(202, 204, 400, 404))
            await asyncio.sleep(0.2)

    async def _send(self, method: str, path: str, accept: tuple[int, ...] = (), **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise HubAway from error
        if response.status_code not in accept and not response.is_success:
            what = _("The hub refused {request}: {reason}.", request=f"{method} {path}", reason=_reason(response))
            raise WebError(502, what, _("Ask an admin."))
        return response


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
