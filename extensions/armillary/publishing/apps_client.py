"""The hub's apps service, as a notebook calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from armillary_kernels.connection import Connection
from armillary_kernels.release import AppName
from armillary_kernels.texts import own_language, translator
from pydantic import TypeAdapter, ValidationError

from armillary.errors import PublishingError

_ = translator(__file__)


@dataclass(frozen=True)
class App:
    """A published app.

    Attributes
    ----------
    name, title, description, owner
        What it is and whose.
    url
        Its page.
    api_url
        Its model's endpoint (Open Inference Protocol v2), ``…/v2/models/<name>``.
    release
        Number of the release that serves; ``releases`` lists all that there are.
    state
        ``"starting"``, ``"ready"`` or ``"failed"``.
    access
        People and groups that may open it, besides the owner.
    failure
        What went wrong with the last release, or None.
    """

    name: str
    title: str
    description: str
    owner: str
    url: str
    api_url: str
    release: int
    state: str
    releases: tuple[int, ...] = ()
    access: Mapping[str, list[str]] | None = None
    failure: Mapping[str, Any] | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> App:
        """Return the app that the service describes."""
        known = {field.name for field in fields(cls)}
        given: dict[str, Any] = {
            name: tuple(value) if name == "releases" else value for name, value in values.items() if name in known
        }
        return cls(**given)

    @property
    def path(self) -> str:
        """The page's path, for links in a notebook: it is right under whatever name a browser reaches the hub by."""
        return urlsplit(self.url).path

    def _repr_html_(self) -> str:
        link = f'<a href="{escape(self.path)}" target="_blank">{escape(self.title)}</a>'
        states = {"starting": _("starting"), "ready": _("ready"), "failed": _("does not start")}
        state = states.get(self.state, self.state)
        return f"<p>{link} · {escape(state)} · <code>{escape(self.api_url)}</code></p>"


def check_name(name: str) -> str:
    """Return ``name``, or raise PublishingError when an app cannot be called so."""
    try:
        return TypeAdapter(AppName).validate_python(name)
    except ValidationError:
        raise PublishingError(
            _("'{name}' cannot be an app's name.", name=name),
            _("Use 1 to 27 small letters, digits and hyphens; begin with a letter."),
        ) from None


class AppsClient:
    """Calls the apps service with the token of the person's own server.

    Raises
    ------
    PublishingError
        Outside a hub.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        connection = connection or Connection.from_environment()
        if connection is None:
            raise PublishingError(_("There is no hub here to publish to."), _("Run this in a notebook of the hub."))
        headers = {**connection.headers, "Accept-Language": own_language()}
        self._client = httpx.Client(
            base_url=f"{connection.apps_url}/api/", headers=headers, timeout=60, trust_env=False
        )

    def all(self) -> list[App]:
        """Return the apps that this person may open."""
        return [App.from_json(each) for each in self._send("GET", "apps").json()]

    def get(self, name: str) -> App:
        """Return one app."""
        return App.from_json(self._send("GET", f"apps/{check_name(name)}").json())

    def publish(self, name: str, about: Mapping[str, Any], model: Path, notebook: Path, access: Any) -> App:
        """Upload the next release; the app starts."""
        with model.open("rb") as model_file, notebook.open("rb") as notebook_file:
            parts: dict[str, Any] = {
                "release": (None, json.dumps(about)),
                "access": (None, json.dumps(access)),
                "model.onnx": ("model.onnx", model_file),
                "app.ipynb": ("app.ipynb", notebook_file),
            }
            answer = self._send(
                "POST", f"apps/{check_name(name)}/releases", files=parts, timeout=httpx.Timeout(60, read=600)
            )
        return App.from_json(answer.json())

    def rollback(self, name: str, release: int | None) -> App:
        """Let an earlier release serve again."""
        return App.from_json(self._send("POST", f"apps/{check_name(name)}/rollback", json={"release": release}).json())

    def change_access(self, name: str, access: Any) -> App:
        """Change who may open an app."""
        return App.from_json(self._send("PUT", f"apps/{check_name(name)}/access", json=access).json())

    def unpublish(self, name: str) -> None:
        """Stop an app and take it down."""
        self._send("DELETE", f"apps/{check_name(name)}", timeout=180)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            what = _("The apps service does not answer: {error}.", error=error)
            raise PublishingError(what, _("Try again in a moment.")) from error
        if response.is_success:
            return response
        try:
            problem = response.json()["error"]
            raise PublishingError(problem["what"], problem["remedy"])
        except (ValueError, KeyError, TypeError):
            what = _("The apps service answered with status {status}.", status=response.status_code)
            raise PublishingError(what, _("Try again in a moment.")) from None
