"""Sign-in at Dask Gateway with a hub token."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web
from armillary_kernels.texts import answering_in, language_of
from dask_gateway_server.auth import JupyterHubAuthenticator
from dask_gateway_server.models import User

_TOKEN = re.compile(r"(?:jupyterhub|token|bearer)\s+(\S+)", re.IGNORECASE)

#: Seconds for which the hub's word on a token is believed without asking again.
CACHE_SECONDS = 30


class HubTokenAuthenticator(JupyterHubAuthenticator):
    """Lets users in whose token gives access to the gateway service.

    Unlike its parent it sets no cookie (a bearer secret that would outlive the token), says 401 to an unknown
    token, and refuses services: a cluster belongs to a person or to an app.
    """

    async def setup(self, app: Any) -> None:
        """Open the connection to the hub."""
        await super().setup(app)
        self._known: dict[str, tuple[float, User]] = {}

    async def authenticate_and_handle(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.Response:
        """Handle a request as the user whose token it carries, and refuse in that person's language."""
        request["user"] = await self.authenticate(request)
        with answering_in(language_of(request.headers.get("Accept-Language"))):
            return await handler(request)

    async def authenticate(self, request: web.Request) -> User:
        """Return the user whose token a request carries, as the hub says or said a moment ago."""
        match = _TOKEN.match(request.headers.get("Authorization", ""))
        if not match:
            raise _unauthorized("This address needs a token of the hub.")
        self._forget_old()
        if known := self._known.get(match[1]):
            return known[1]
        user = self._admit(await self._ask_hub(match[1]))
        self._known[match[1]] = (time.monotonic(), user)
        return user

    def _forget_old(self) -> None:
        limit = time.monotonic() - CACHE_SECONDS
        self._known = {token: entry for token, entry in self._known.items() if entry[0] > limit}

    async def _ask_hub(self, token: str) -> dict[str, Any]:
        headers = {"Authorization": f"token {token}"}
        try:
            async with self.session.get(f"{self.jupyterhub_api_url}/user", headers=headers) as answer:
                if answer.status in (401, 403, 404):
                    raise _unauthorized("The token is not valid.")
                answer.raise_for_status()
                return await answer.json()
        except aiohttp.ClientError as error:
            self.log.warning("The hub does not answer: %s", error)
            raise web.HTTPServiceUnavailable(reason="The hub does not answer, so nobody can be signed in.") from error

    def _admit(self, model: dict[str, Any]) -> User:
        needed = {"access:services", f"access:services!service={self.jupyterhub_service_name}"}
        if model["kind"] != "user" or needed.isdisjoint(model.get("scopes", ())):
            raise web.HTTPForbidden(reason=f"{model['name']} has no access to Dask clusters.")
        return User(model["name"], groups=model.get("groups", ()), admin=model.get("admin", False))


def _unauthorized(reason: str) -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(reason=reason, headers={"WWW-Authenticate": "jupyterhub"})
