"""Every text a person reads, in English and Simplified Chinese.

English is the key, as in gettext; each room keeps its Chinese in a ``texts_zh.json`` beside its code (a flat
object, English to Chinese). Texts with values are written with ``str.format`` fields: ``_("{n} examples", n=5)``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")

_answered = ContextVar("language of the person who is answered", default="")


def language_of(tag: str | None) -> str:
    """Return ``"en"`` or ``"zh"`` for a language tag, a POSIX locale or an ``Accept-Language`` header.

    Of an ``Accept-Language`` header the first language that we have wins; an unknown one means English.
    """
    for part in (tag or "").split(","):
        name = part.split(";")[0].strip().lower()[:2]
        if name in LANGUAGES:
            return name
    return "en"


def own_language() -> str:
    """Return the language of this process: ``ARMILLARY_LANGUAGE``, else that of the POSIX locale.

    A service has many people to answer, each in their own: see `answering_in`.
    """
    env = os.environ
    return _answered.get() or language_of(env.get("ARMILLARY_LANGUAGE") or env.get("LC_ALL") or env.get("LANG"))


@contextmanager
def answering_in(language: str) -> Iterator[None]:
    """Let texts be in this language within the block, tasks begun in it included."""
    before = _answered.set(language)
    try:
        yield
    finally:
        _answered.reset(before)


@cache
def catalogue(folder: Path) -> dict[str, str]:
    """Return the Chinese texts that lie in ``folder/texts_zh.json``."""
    return json.loads((folder / "texts_zh.json").read_text(encoding="utf-8"))


def translator(module_file: str) -> Callable[..., str]:
    """Return the ``_`` of a room: ``_ = translator(__file__)`` reads ``texts_zh.json`` beside the module.

    The returned function takes the English text, an optional ``language`` (default: this process's own) and
    the values of the text's fields.
    """
    folder = Path(module_file).parent

    def translate(text: str, /, *, language: str | None = None, **values: object) -> str:
        found = catalogue(folder).get(text, text) if (language or own_language()) == "zh" else text
        return found.format(**values) if values else found

    return translate
