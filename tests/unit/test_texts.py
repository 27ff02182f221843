"""Every text that the code translates has its Chinese in the room's ``texts_zh.json``, with the same fields."""

import ast
import json
import string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hub_config/armillary_hub", "kernels/armillary_kernels", "extensions/armillary")
CATALOGUES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("texts_zh.json"))


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def translated_texts(module):
    """Return the literal texts that a module passes to its ``_`` (plain or formatted), with their line numbers."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_" and node.args:
            yield from ((text, node.lineno) for text in literals(node.args[0]))


def literals(node):
    """Return the texts an argument may be: a literal, or either branch of a conditional expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*literals(node.body), *literals(node.orelse)]
    return []


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def code_beside(catalogue):
    """Return the sources that may use a catalogue: the folder's own modules, pages and scripts."""
    return [path for path in catalogue.parent.rglob("*") if path.suffix in {".py", ".js", ".mjs", ".html", ".ipynb"}]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_translated_text_has_its_chinese(package):
    missing = []
    for module in sorted((ROOT / package).rglob("*.py")):
        catalogue = module.parent / "texts_zh.json"
        chinese = json.loads(catalogue.read_text(encoding="utf-8")) if catalogue.exists() else {}
        missing += [
            f"{module.relative_to(ROOT)}:{line}: {text!r}"
            for text, line in translated_texts(module)
            if not chinese.get(text)
        ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=names(CATALOGUES))
def test_no_chinese_text_is_left_over_from_an_english_one_that_is_gone(catalogue):
    """A key must stand somewhere in the room's code: as a literal in Python, or in a page, script or notebook."""
    literal_texts, other_sources = set(), ""
    for path in code_beside(catalogue):
        source = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            literal_texts |= {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        else:
            other_sources += source
    stale = [text for text in json.loads(catalogue.read_text("utf-8")) if text not in literal_texts]
    assert not [text for text in stale if text not in other_sources]


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=names(CATALOGUES))
def test_the_chinese_has_the_fields_of_the_english(catalogue):
    texts = json.loads(catalogue.read_text(encoding="utf-8"))
    assert not {english: chinese for english, chinese in texts.items() if fields(english) != fields(chinese)}
