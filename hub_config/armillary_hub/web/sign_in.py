"""Signing people and programs in with the hub: OAuth for browsers, tokens for programs.

The protocol is JupyterHub's own (`jupyterhub.services.auth.HubOAuth`, with PKCE); here it is bound to ASGI. To load it
takes as long as all the rest of a service: it is loaded once the service answers.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from armillary_kernels.texts import translator
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from armillary_hub.web import xsrf
from armillary_hub.web.errors import WebError, error_response, wants_page
from armillary_hub.web.language import AnswerInTheirLanguage

if TYPE_CHECKING:
    from jupyterhub.services.auth import HubOAuth

_ = translator(__file__)

_TOKEN = re.compile(r"(?:token|bearer)\s+(\S+)", re.IGNORECASE)

Refusal = Callable[[HTTPConnection, WebError], Response]


@dataclass(frozen=True)
class Identity:
    """Who sends a request.

    Attributes
    ----------
    name
        The hub's name of the user or service.
    kind
        ``"user"`` or ``"service"``.
    admin
        Whether the user is an admin of the hub.
    groups
        The user's groups.
    scopes
        The expanded scopes of the token that the request came with.
    token
        That token.
    xsrf
        The XSRF token for forms and scripts; empty where a header signed the request.
    """

    name: str
    kind: str
    admin: bool
    groups: tuple[str, ...]
    scopes: frozenset[str]
    token: str = field(repr=False)
    xsrf: str = field(default="", repr=False)


def refuse(connection: HTTPConnection, error: WebError) -> Response:
    """Answer with JSON or a page, by what the caller accepts."""
    return error_response(connection, error.status, error.what, error.remedy, error.headers)


class SignIn:
    """Sign-in with the hub for one OAuth client: a service, or a server that the hub started.

    Parameters
    ----------
    prefix
        The path below which the client lives, such as ``"/services/apps/"``.
    make_auth
        Makes JupyterHub's OAuth client, configured; is called when it is first needed.
    public_paths, xsrf_cookies
        As in `armillary_hub.web.identity.HubIdentity`.
    refusal
        Makes the answer to a request that is refused.
    """

    def __init__(
        self,
        prefix: str,
        make_auth: Callable[[], HubOAuth],
        *,
        public_paths: Collection[str] = (),
        xsrf_cookies: Sequence[str] = ("_xsrf",),
        refusal: Refusal = refuse,
    ) -> None:
        self.prefix = prefix
        self._make_auth = make_auth
        self.xsrf_cookies = tuple(xsrf_cookies)
        self.refusal = refusal
        self._public_paths = frozenset(public_paths)

    @cached_property
    def auth(self) -> HubOAuth:
        """JupyterHub's OAuth client."""
        return self._make_auth()

    # What a service uses ---------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """Return the route on which the hub sends browsers back."""
        return [Route(f"{self.prefix}oauth_callback", self._callback, methods=["GET"])]

    def middleware(self) -> Middleware:
        """Return the middleware that lets only those with access through, as ``scope["state"]["identity"]``."""
        return Middleware(_SignInMiddleware, sign_in=self)

    async def identify(self, connection: HTTPConnection) -> Identity | None:
        """Return who sends a request, or None for an unknown or missing token.

        Raises
        ------
        WebError
            503 when the hub does not answer; 403 when a page of another origin, or another user's, made the request.
        """
        if match := _TOKEN.match(connection.headers.get("authorization", "")):
            return await self._ask_hub(match[1], session_id="", xsrf_token="")
        session = connection.cookies.get(self.auth.cookie_name)
        if not session:
            return None
        expected = xsrf.token_for(session, self.auth.api_token)
        if not xsrf.is_genuine(connection, expected):
            raise WebError(403, _("The request lacks its XSRF token."), _("Reload the page and try again."))
        return await self._ask_hub(session, connection.cookies.get("jupyterhub-session-id", ""), expected)

    def is_public(self, path: str) -> bool:
        """Return whether a path needs no sign-in."""
        below = path.removeprefix(self.prefix)
        return (
            below == "oauth_callback"
            or below in self._public_paths
            or any(public.endswith("/") and below.startswith(public) for public in self._public_paths)
        )

    def may_enter(self, identity: Identity) -> bool:
        """Return whether the hub gave this identity access here."""
        return bool(self.auth.check_scopes(self.auth.access_scopes, {"scopes": identity.scopes}))

    # OAuth -----------------------------------------------------------------------------------------------

    def redirect_to_hub(self, connection: HTTPConnection) -> Response:
        """Send a browser to the hub to sign in, and afterwards back to the page it asked for."""
        verifier, challenge, method = self.auth.generate_pkce_code_challenge()
        state = self.auth.generate_state(_path_and_query(connection.scope), code_verifier=verifier)
        query = {"state": state, "code_challenge": challenge, "code_challenge_method": method}
        response = RedirectResponse(f"{self.auth.login_url}&{urlencode(query)}", 302)
        self._set_cookie(connection, response, self._state_cookie(state), state, max_age=self.auth.oauth_state_max_age)
        return response

    async def _callback(self, request: Request) -> Response:
        from tornado.web import HTTPError

        state = request.query_params.get("state", "")
        brought = request.cookies.get(self._state_cookie(state), "")
        verifier = self.auth.get_code_verifier(state)
        if not state or not hmac.compare_digest(state.encode(), brought.encode()) or not verifier:
            return self._callback_failed(request, _("The sign-in took too long or was begun in another window."))
        if problem := request.query_params.get("error"):
            return self._callback_failed(request, _("The hub refused the sign-in: {problem}.", problem=problem))
        destination = self.auth.get_next_url(state)
        self.auth.clear_oauth_state(state)
        try:
            token = await self.auth.token_for_code(
                request.query_params.get("code", ""), code_verifier=verifier, sync=False
            )
        except HTTPError as error:
            what = _("The hub did not complete the sign-in: {problem}.", problem=error.log_message)
            return self._callback_failed(request, what)
        response = RedirectResponse(destination, 302)
        self._set_cookie(request, response, self.auth.cookie_name, token)
        response.delete_cookie(self._state_cookie(state), path=self.prefix)
        return response

    def _callback_failed(self, request: Request, what: str) -> Response:
        return self.refusal(request, WebError(403, what, _("Open {address} again.", address=self.prefix)))

    def _state_cookie(self, state: str) -> str:
        return f"{self.auth.state_cookie_name}-{state[:8]}"

    def _set_cookie(
        self, connection: HTTPConnection, response: Response, name: str, value: str, max_age: int | None = None
    ) -> None:
        secure = connection.url.scheme in ("https", "wss")
        response.set_cookie(name, value, max_age, path=self.prefix, secure=secure, httponly=True, samesite="lax")

    # The hub ---------------------------------------------------------------------------------------------

    async def _ask_hub(self, token: str, session_id: str, xsrf_token: str) -> Identity | None:
        from tornado.web import HTTPError

        try:
            model: dict[str, Any] | None = await self.auth.user_for_token(token, session_id=session_id, sync=False)
        except HTTPError as error:
            what = _("The hub does not answer, so nobody can be signed in.")
            raise WebError(503, what, _("Try again in a moment."), {"Retry-After": "3"}) from error
        if model is None:
            return None
        return Identity(
            name=model["name"],
            kind=model["kind"],
            admin=bool(model.get("admin", False)),
            groups=tuple(model.get("groups", ())),
            scopes=frozenset(model["scopes"]),
            token=token,
            xsrf=xsrf_token,
        )


def _path_and_query(scope: Scope) -> str:
    path: str = scope.get("raw_path", scope["path"].encode()).decode("ascii")
    query: str = scope.get("query_string", b"").decode("ascii")
    return f"{path}?{query}" if query else path


class _SignInMiddleware:
    """Lets only those with access reach the application."""

    def __init__(self, app: ASGIApp, sign_in: SignIn) -> None:
        self.app = app
        self.sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, _loading_afterwards(send))
            return
        await AnswerInTheirLanguage(self._answer)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.sign_in.is_public(scope["path"]):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            identity = await self._admit(connection)
        except WebError as error:
            await self._refuse(self.sign_in.refusal(connection, error), scope, receive, send)
            return
        if identity is None:
            await self._refuse(self.sign_in.redirect_to_hub(connection), scope, receive, send)
            return
        scope.setdefault("state", {})["identity"] = identity
        await self.app(scope, receive, self._with_xsrf_cookie(connection, identity, send))

    async def _admit(self, connection: HTTPConnection) -> Identity | None:
        """Return who may enter, or None for a browser that should sign in."""
        identity = await self.sign_in.identify(connection)
        if identity is None:
            if wants_page(connection) and "authorization" not in connection.headers:
                return None
            bare = _is_bare(connection)
            what = _("This address needs a token of the hub.") if bare else _("The token is not valid.")
            raise WebError(401, what, _("Send `Authorization: Bearer <token>`."), {"WWW-Authenticate": "Bearer"})
        if not self.sign_in.may_enter(identity):
            what = _("{user} has no access to {address}.", user=identity.name, address=self.sign_in.prefix)
            raise WebError(403, what, _("Ask its owner for access."))
        return identity

    @staticmethod
    async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        await response(scope, receive, send)

    def _with_xsrf_cookie(self, connection: HTTPConnection, identity: Identity, send: Send) -> Send:
        """Let a page's answer carry the XSRF token to its scripts."""
        names = [name for name in self.sign_in.xsrf_cookies if connection.cookies.get(name) != identity.xsrf]
        if not identity.xsrf or not names or not wants_page(connection):
            return send

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                secure = "; Secure" if connection.url.scheme == "https" else ""
                for name in names:
                    cookie = f"{name}={identity.xsrf}; Path={self.sign_in.prefix}; SameSite=Lax{secure}"
                    headers.append("set-cookie", cookie)
            await send(message)

        return send_with_cookie


def _loading_afterwards(send: Send) -> Send:
    """Load the hub's client in a thread once the service has started: then the first request need not wait for it."""

    async def send_and_load(message: Message) -> None:
        await send(message)
        if message["type"] == "lifespan.startup.complete":
            asyncio.get_running_loop().run_in_executor(None, import_module, "jupyterhub.services.auth")

    return send_and_load


def _is_bare(connection: HTTPConnection) -> bool:
    return "authorization" not in connection.headers
