"""Texts of one line. Names of files may hold line breaks and bytes that are no text; a log or a database may not."""

from __future__ import annotations

import re

#: Control characters, what else ends a line, and halves of characters, which stand for bytes that are no text.
_ODD = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")


def is_plain(text: str) -> bool:
    """Return whether a text is one line without control characters."""
    return _ODD.search(text) is None


def plain(text: str) -> str:
    """Return a text with a replacement character for each that cannot be in one line."""
    return _ODD.sub("\N{REPLACEMENT CHARACTER}", text)
