"""The hub's own look: where its templates are, and what they can ask for besides JupyterHub's variables."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from armillary_kernels.texts import language_of, translator
from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

from armillary_hub.accounts.apps_seen import App, app_of_request
from armillary_hub.accounts.guides import Guide, list_guides

TEMPLATES = Path(__file__).parent.parent / "templates"
STATIC = Path(__file__).parent.parent / "static"

_ = translator(str(TEMPLATES / "base.html"))


def _handler(context: Context) -> Any:
    # JupyterHub gives its templates nothing of the request, but one bound method of the handler.
    return getattr(context.get("static_url"), "__self__", None)


@pass_context
def language(context: Context) -> str:
    """Return the language of the page: the one that the browser asks for."""
    handler = _handler(context)
    return language_of(handler.request.headers.get("Accept-Language") if handler else None)


@pass_context
def translate(context: Context, text: str, **values: object) -> str:
    """Return a text in the language of the page."""
    return _(text, language=language(context), **values)


@cache
def version_of(name: str) -> str:
    """Return a short hash of one of our static files."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


@pass_context
def asset(context: Context, name: str) -> str:
    """Return the address of one of our static files; it changes with the file."""
    return f"{context.get('base_url') or '/hub/'}armillary/{name}?v={version_of(name)}"


@pass_context
def viewer(context: Context) -> Any:
    """Return who looks at the page. JupyterHub's ``user`` may be the one whose server the page is about."""
    handler = _handler(context)
    return handler.current_user if handler else context.get("user")


@pass_context
def changes_password(context: Context) -> bool:
    """Tell whether people have passwords of our own."""
    handler = _handler(context)
    return handler is not None and hasattr(handler.authenticator, "passwords")


@pass_context
def guides(context: Context) -> list[Guide]:
    """Return the guides that the deployment brings."""
    handler = _handler(context)
    settings = getattr(handler.authenticator, "settings", None) if handler else None
    return list_guides(settings.share_dir / "notebooks" / "guides", language(context)) if settings else []


@pass_context
def refused_app(context: Context, status: int) -> App | None:
    """Return the app that an error page refuses, if it is about one."""
    handler = _handler(context)
    return app_of_request(handler) if handler and status in (403, 404) else None


@pass_context
def asking_app(context: Context) -> App | None:
    """Return the app that asks who somebody is, if it is an app that asks."""
    handler = _handler(context)
    return app_of_request(handler) if handler else None


GLOBALS = {
    "_": translate,
    "language": language,
    "asset": asset,
    "viewer": viewer,
    "guides": guides,
    "changes_password": changes_password,
    "refused_app": refused_app,
    "asking_app": asking_app,
}


class LookExtension(Extension):
    """Gives every template of the hub `GLOBALS`.

    Not JupyterHub's ``template_vars``: those an admin may set, and would drop ours with them.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(GLOBALS)


def apply_look(c: Any) -> None:
    """Let JupyterHub render our templates."""
    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.jinja_environment_options = {"extensions": [LookExtension]}
    # Signing in leads to the home page: who came to use an app needs no notebook.
    c.JupyterHub.redirect_to_server = False
