"""Text that other people wrote, in a terminal."""

from __future__ import annotations

from armillary_kernels.plain_texts import printable
from rich.text import Text


def plain(text: str) -> Text:
    """Return text that rich shows as it is: no markup, no names of emoji, nothing that steers the terminal."""
    return Text(printable(text))
