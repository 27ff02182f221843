"""What other people wrote, such as the name of a notebook, made fit for a terminal."""

from __future__ import annotations

import unicodedata

#: Control characters, unseen ones that turn text round, halves of characters, ends of lines: categories of Unicode.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}

#: Unseen, but some scripts and emoji are written with them.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Return text without what could steer a terminal, and without what no encoding has."""
    return "".join(each for each in text if each in _JOINERS or unicodedata.category(each) not in _UNSEEN)
