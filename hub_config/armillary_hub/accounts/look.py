"""The hub's own look: where its templates are, and what JupyterHub hands to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armillary_kernels.texts import language_of, translator
from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

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


class LookExtension(Extension):
    """Gives every template of the hub ``_`` and ``language``.

    Not JupyterHub's ``template_vars``: those an admin may set, and would drop ours with them.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(_=translate, language=language)


def apply_look(c: Any) -> None:
    """Let JupyterHub render our templates."""
    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.jinja_environment_options = {"extensions": [LookExtension]}
