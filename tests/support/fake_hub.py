"""The few answers of a hub that sign-in needs, for tests of one service alone; whole stories use a real deployment."""

import secrets
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route


class FakeHub:
    """Knows people by token; signs in whoever ``visitor`` names."""

    def __init__(self):
        self.people = {}
        self.codes = {}
        self.visitor = None
        self.activity = []
        self.app = Starlette(
            routes=[
                Route("/hub/api/user", self.user),
                Route("/hub/api/oauth2/authorize", self.authorize),
                Route("/hub/api/oauth2/token", self.token, methods=["POST"]),
                Route("/hub/api/users/{name}/activity", self.used, methods=["POST"]),
            ]
        )

    def person(self, name, *scopes, admin=False, groups=()):
        """Make a person; returns a token with these scopes."""
        token = secrets.token_hex(16)
        self.people[token] = {
            "name": name,
            "kind": "user",
            "admin": admin,
            "groups": list(groups),
            "scopes": list(scopes),
        }
        return token

    async def user(self, request):
        token = request.headers.get("authorization", "").removeprefix("token ")
        found = self.people.get(token)
        return JSONResponse(found) if found else JSONResponse({"message": "Forbidden"}, 403)

    async def authorize(self, request):
        asked = request.query_params
        code = secrets.token_hex(8)
        self.codes[code] = (self.visitor, asked["code_challenge"])
        query = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", 302)

    async def token(self, request):
        form = dict(pair.split("=", 1) for pair in (await request.body()).decode().split("&"))
        token, _ = self.codes.pop(form["code"])
        return JSONResponse({"access_token": token})

    async def used(self, request):
        self.activity.append((request.path_params["name"], await request.json()))
        return JSONResponse({})
