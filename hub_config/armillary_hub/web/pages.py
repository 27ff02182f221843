"""Pages of the hub's services, in the same frame and look as the hub's own."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from armillary_kernels.texts import translator
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from armillary_hub.accounts.look import STATIC, TEMPLATES, version_of


class Viewer(Protocol):
    """Who looks at a page: `armillary_hub.web.identity.Identity`, or anything with a name."""

    @property
    def name(self) -> str: ...  # noqa: D102 - a protocol

    @property
    def admin(self) -> bool: ...  # noqa: D102 - a protocol


@cache
def _environment(folder: Path | None) -> Environment:
    # Autoescaping is on for every template, whatever its name.
    return Environment(loader=FileSystemLoader([*([folder] if folder else []), TEMPLATES]), autoescape=True)


def _asset(name: str) -> str:
    return f"/hub/armillary/{name}?v={version_of(name)}"


def _translate(rooms: tuple[Path, ...], language: str, text: str, **values: object) -> str:
    for room in rooms:
        found = translator(str(room / "page.html"))(text, language=language, **values)
        if language == "en" or found != (text.format(**values) if values else text):
            return found
    return text.format(**values) if values else text


def render(
    template: str,
    *,
    identity: Viewer | None,
    language: str,
    folder: Path | None = None,
    **values: Any,
) -> str:
    """Return a page as HTML.

    A template of a room extends ``base.html`` and fills its blocks ``title``, ``width`` (``narrow``, ``medium`` or
    nothing), ``head``, ``main`` and ``script``; ``active`` marks the entry of the navigation (``apps``, ``gpus``).
    The stylesheet is in the page itself, so that it looks right while the hub is away.

    Parameters
    ----------
    template
        Name of the template, in ``folder`` or among the shared ones.
    identity
        Who looks at the page; None for somebody who is not signed in.
    language
        ``"en"`` or ``"zh"`` (`armillary_kernels.texts.language_of`).
    folder
        The room's own templates, with their ``texts_zh.json``.
    values
        What the template asks for.
    """
    rooms = tuple(room for room in (folder, TEMPLATES) if room)
    own: dict[str, Any] = {
        "_": partial(_translate, rooms, language),
        "language": lambda: language,
        "asset": _asset,
        "viewer": lambda: identity,
        "user": identity,
        "base_url": "/hub/",
        "inline_css": _css(),
    }
    return _environment(folder).get_template(template).render({**own, **values})


def render_error(status: int, what: str, remedy: str, *, identity: Viewer | None, language: str) -> str:
    """Return the page that tells a person about an error."""
    return render("problem.html", identity=identity, language=language, status=status, what=what, remedy=remedy)


@cache
def _css() -> Markup:
    return Markup((STATIC / "armillary.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
