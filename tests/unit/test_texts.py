"""Every text that the code translates has its Chinese in the room's ``texts_zh.json``, with the same fields."""

import ast
import json
import string
from collections.abc import Iterator
from functools import cache
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
        if is_call_of(node, {"_"}) and node.args:
            yield from ((text, node.lineno) for text in literals(node.args[0]))


def literals(node):
    """Return the texts an argument may be: a literal, or either branch of a conditional expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*literals(node.body), *literals(node.orelse)]
    return []


@cache
def trees(*packages):
    return {path: ast.parse(path.read_text("utf-8")) for package in packages for path in (ROOT / package).rglob("*.py")}


@cache
def error_names():
    """Return the names of all classes of errors that people read: `ArmillaryError` and what derives from it."""
    classes = [node for tree in trees(*PACKAGES).values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    known, found = set(), {"ArmillaryError"}
    while found:
        known |= found
        derived = {each.name for each in classes if any(isinstance(b, ast.Name) and b.id in known for b in each.bases)}
        found = derived - known
    return known


def english_errors(tree: ast.Module) -> set[int]:
    """Return the lines where an error gets a text that does not come from ``_``, directly or by a variable."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        call.lineno
        for scope in (*functions, tree)
        for call in ast.walk(scope)
        if is_call_of(call, error_names()) and any(english(each, scope, frozenset()) for each in call.args)
    }


def is_call_of(node: ast.AST, callables: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in callables


def english(node: ast.expr, scope: ast.AST, seen: frozenset[str]) -> bool:
    """Tell whether a text, or a part of it, is a literal with words that no ``_`` translates."""
    match node:
        case ast.Constant(value=str() as text):
            return any(character.isalpha() for character in text)
        case (
            ast.Call(func=ast.Attribute(value=inner, attr="format" | "join" | "strip"))
            | ast.FormattedValue(value=inner)
        ):
            return english(inner, scope, seen)
        case ast.Name(id=name) if name not in seen:
            return any(english(value, scope, seen | {name}) for value in assigned(name, scope))
        case ast.JoinedStr(values=parts) | ast.BoolOp(values=parts):
            return any(english(part, scope, seen) for part in parts)
        case ast.BinOp(left=one, right=other) | ast.IfExp(body=one, orelse=other):
            return english(one, scope, seen) or english(other, scope, seen)
    return False


def assigned(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    """Yield what a variable is set to within a function."""
    for node in ast.walk(scope):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            yield node.value
        for target in node.targets if isinstance(node, ast.Assign) else ():
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            yield from (value for each, value in pairs if isinstance(each, ast.Name) and each.id == name)


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


def test_no_formatted_string_is_given_to_be_translated():
    """``_(f"…")`` finds no Chinese: the values come by ``str.format``."""
    calls = [
        (path, node) for path, tree in trees(*PACKAGES).items() for node in ast.walk(tree) if is_call_of(node, {"_"})
    ]
    assert not [f"{path}:{call.lineno}" for path, call in calls if isinstance(call.args[0], ast.JoinedStr)]


#: What admins read in the pool's log, and reasons that its books keep in English (`armillary_hub.pool.reasons`).
ENGLISH_IN_THE_POOL = {
    *("configuration", "faults", "opening", "ownership", "upgrading"),
    *("suspender", "cuda_suspender"),
}


def test_every_error_that_a_notebook_shows_is_translated():
    notebook_side = trees("kernels/armillary_kernels", "extensions/armillary", "hub_config/armillary_hub/pool")
    notebook_side = {
        path: tree
        for path, tree in notebook_side.items()
        if path.parent.name != "pool" or path.stem not in ENGLISH_IN_THE_POOL
    }
    assert {"DatasetError", "NoGpuFreeError"} <= error_names()
    found = {str(path.relative_to(ROOT)): english_errors(tree) for path, tree in notebook_side.items()}
    assert not {path: sorted(lines) for path, lines in found.items() if lines}


@pytest.mark.parametrize(
    ("source", "english_lines"),
    [
        ("raise DatasetError('No.')", {1}),
        ("raise DatasetError(f'No {x}.', _('Go on.'))", {1}),
        ("def f():\n    what = 'No ' + x\n    return DatasetError(what)", {3}),
        ("raise DatasetError(_('No {x}.', x=x), f'{_(\"Go on.\")} {y}')", set()),
        ("raise DatasetError(answer['what'], answer['remedy'])", set()),
        ("raise ValueError('No.')", set()),
    ],
)
def test_an_error_in_english_is_noticed(source, english_lines):
    assert english_errors(ast.parse(source)) == english_lines


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
