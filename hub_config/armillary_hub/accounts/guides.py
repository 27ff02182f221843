"""The guides on the home page: the notebooks that the deployment brings, with their own first words.

A guide begins with a heading ``# English · 中文`` and a paragraph in each language.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: The guide that comes first.
FIRST = "start-here.ipynb"

_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Guide:
    """One guide, in one language.

    Attributes
    ----------
    file
        Its name in the folder ``guides`` of each person's home.
    title, summary
        Its heading and the first sentence below it.
    """

    file: str
    title: str
    summary: str


def list_guides(folder: Path, language: str) -> list[Guide]:
    """Return the guides in a folder, the first one first, the others by name; unreadable ones are left out."""
    paths = sorted(folder.glob("*.ipynb"), key=lambda path: (path.name != FIRST, path.name))
    found = ((path, _first_words(path, path.stat().st_mtime)) for path in paths)
    return [_guide(path, words, language) for path, words in found if words]


@lru_cache(maxsize=64)
def _first_words(path: Path, _modified: float) -> str:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return ""


def _guide(path: Path, words: str, language: str) -> Guide:
    blocks = [_plain(block) for block in re.split(r"\n\s*\n", words) if block.strip()]
    heading, paragraphs = (blocks[0].lstrip("# "), blocks[1:]) if blocks else (path.stem, [])
    return Guide(path.name, _in_language(heading.split(" · "), language), _in_language(paragraphs, language, True))


def _in_language(texts: list[str], language: str, first_sentence: bool = False) -> str:
    mine = [text for text in texts if bool(_CHINESE.search(text)) == (language == "zh")]
    text = (mine or texts or [""])[0]
    return re.split(r"(?<=。)|(?<=[.:]) ", text)[0] if first_sentence else text


def _plain(markdown: str) -> str:
    without_links = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*`]", "", without_links).split())
