"""The lines of a text, which end where its writer ended them.

``str.splitlines`` also divides at U+2028, U+0085, form feeds and more: these stand within lines of texts from the web,
and all that follows would belong to another line.
"""

from __future__ import annotations

from io import StringIO


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text, divided at ``\n``, ``\r\n`` and ``\r`` only.

    >>> lines_of("one\u2028more\r\ntwo\n")
    ['one\u2028more', 'two']
    """
    return [line.removesuffix("\n") for line in StringIO(text, newline=None)]
