"""Texts of one line. Names of files may hold line breaks and bytes that are no text; a log or a database may not."""

from __future__ import annotations

import re
import unicodedata

#: Control characters, what else ends a line, and halves of characters, which stand for bytes that are no text.
_ODD = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
#: For a terminal, unseen characters, too, that turn text round (categories of Unicode) ...
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: ... but some scripts and emoji are written with these.
_JOINERS = "\u200c\u200d"


def is_plain(text: str) -> bool:
    """Return whether a text is one line without control characters."""
    return _ODD.search(text) is None


def plain(text: str) -> str:
    """Return a text with a replacement character for each that cannot be in one line."""
    return _ODD.sub("\N{REPLACEMENT CHARACTER}", text)


def printable(text: str) -> str:
    """Return a text without what could steer a terminal."""
    return "".join(each for each in text if each in _JOINERS or unicodedata.category(each) not in _UNSEEN)
