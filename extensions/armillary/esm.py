"""The panels' scripts: plain ES modules beside the Python, with what they share put before them."""

from __future__ import annotations

from pathlib import Path

_SHARED = Path(__file__).parent / "static"


def in_place(script: Path) -> str:
    """Return a panel's script with ``align``, which changes a page in place (``static/align.js``).

    A script in a notebook has no address of its own, so it cannot import another file.
    """
    return together(_SHARED / "align.js", script)


def together(*scripts: Path) -> str:
    """Return scripts as one module: the last has the export, and may use what the others declare."""
    return "\n".join(path.read_text(encoding="utf-8") for path in scripts)
