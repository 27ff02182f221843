"""The guides on the home page: the notebooks that the deployment brings, with their own first words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: The guide that comes first.
FIRST = "start-here.ipynb"


@dataclass(frozen=True)
class Guide:
    """One guide.

    Attributes
    ----------
    file
        Its name in the folder ``guides`` of each person's home.
    title, summary
        Its first heading and the first paragraph below it.
    """

    file: str
    title: str
    summary: str


def list_guides(folder: Path) -> list[Guide]:
    """Return the guides in a folder, the first one first, the others by name; unreadable ones are left out."""
    found = [_read(path, path.stat().st_mtime) for path in sorted(folder.glob("*.ipynb"))]
    return sorted((guide for guide in found if guide), key=lambda guide: (guide.file != FIRST, guide.file))


@lru_cache(maxsize=64)
def _read(path: Path, _modified: float) -> Guide | None:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        words = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None
    blocks = [block.strip() for block in words.split("\n\n") if block.strip()]
    heading, _, rest = (blocks[0] if blocks else "").partition("\n")
    summary = rest.strip() or (blocks[1] if len(blocks) > 1 else "")
    return Guide(path.name, heading.lstrip("# ").strip() or path.stem, _first_sentence(summary))


def _first_sentence(text: str) -> str:
    plain = " ".join(text.replace("**", "").replace("`", "").replace("*", "").split())
    sentence, stop, _ = plain.partition(". ")
    return sentence + "." if stop else sentence
