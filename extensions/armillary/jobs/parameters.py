"""Which parameters a notebook takes, and whether given values fit them, known before anything runs.

The notebook declares its parameters in the cell tagged ``parameters`` (papermill's convention): one assignment
each, the type from its annotation, else from a ``# type: int`` comment, else from its default.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Optional, Union

from armillary_kernels.texts import translator
from pydantic import ConfigDict, TypeAdapter, ValidationError

from armillary.errors import JobError

if TYPE_CHECKING:
    import nbformat

_ = translator(__file__)

_TYPE_NAMES: dict[str, Any] = {
    "Any": Any,
    "Literal": Literal,
    "Optional": Optional,
    "Union": Union,
    "bool": bool,
    "dict": dict,
    "float": float,
    "int": int,
    "list": list,
    "str": str,
    "Dict": dict,
    "List": list,
}
#: What papermill can write into a notebook.
_JSON_LIKE = (bool, int, float, str, list, dict, type(None))
_COMMENT = re.compile(r"#\s*(?:type:\s*(?P<type>[^\s#]+)\s*)?(?P<help>.*)$")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook.

    Attributes
    ----------
    name
        As it stands in the notebook.
    type_name
        Its type as a person reads it (``"int"``, ``"list[int]"``), ``"any"`` when the notebook doesn't say.
    default
        The source of its default.
    help
        The comment behind it.
    """

    name: str
    type_name: str
    default: str
    help: str = ""
    python_type: Any = field(default=Any, repr=False)

    def accepts(self, value: object) -> bool:
        """Tell whether ``value`` is of the parameter's type. A whole number is a float; a bool is no int."""
        try:
            TypeAdapter(self.python_type, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError:
            return False
        return True

    def read(self, text: str) -> object:
        """Return the value that ``text`` (from a command line) stands for: a Python or JSON literal, or the text."""
        if self.python_type is str:
            return text
        for parse in (ast.literal_eval, json.loads):
            try:
                value = parse(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if self.accepts(value) and isinstance(value, _JSON_LIKE):
                return value
        return text


def declared(notebook: nbformat.NotebookNode) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, by name and in its order.

    Raises
    ------
    JobError
        If its parameters cell is not valid Python.
    """
    source = next((cell.source for cell in notebook.cells if _is_parameters(cell)), "")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        what = _("The notebook's parameters cell is not valid Python: {error}.", error=error)
        raise JobError(what, _("Correct that cell.")) from None
    lines = source.splitlines()
    found = (_parameter(node, source, lines[(node.end_lineno or 1) - 1]) for node in tree.body)
    return {parameter.name: parameter for parameter in found if parameter}


def _is_parameters(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])


def _parameter(node: ast.stmt, source: str, last_line: str) -> Parameter | None:
    target: ast.expr
    if isinstance(node, ast.AnnAssign):
        target, annotation = node.target, ast.unparse(node.annotation)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, annotation = node.targets[0], ""
    else:
        return None
    if not isinstance(target, ast.Name) or node.value is None:
        return None
    comment = _COMMENT.match(last_line[len(last_line.encode()[: node.end_col_offset].decode()) :].strip())
    stated = annotation or (comment["type"] if comment else "") or ""
    python_type = _type_of(stated, node.value)
    return Parameter(
        name=target.id,
        type_name=_name_of(python_type, stated),
        default=ast.get_source_segment(source, node.value) or "",
        help=comment["help"].strip() if comment else "",
        python_type=python_type,
    )


def _type_of(stated: str, default: ast.expr) -> Any:
    if stated:
        try:
            return _resolve(ast.parse(stated, mode="eval").body)
        except (SyntaxError, TypeError, LookupError):
            return Any
    try:
        value = ast.literal_eval(default)
    except (ValueError, TypeError):
        return Any
    return Any if value is None else type(value)


def _resolve(node: ast.expr) -> Any:
    """Return the type an annotation names. Nothing of it is evaluated: unknown words raise LookupError."""
    match node:
        case ast.Name(id=name):
            return _TYPE_NAMES[name]
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str() as quoted):
            return _resolve(ast.parse(quoted, mode="eval").body)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_resolve(left), _resolve(right)]  # noqa: UP007 - built from parts, so it cannot be written X | Y
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[ast.literal_eval(choices)]
        case ast.Subscript(value=outer, slice=ast.Tuple(elts=parts)):
            return _resolve(outer)[tuple(_resolve(part) for part in parts)]
        case ast.Subscript(value=outer, slice=part):
            return _resolve(outer)[_resolve(part)]
    raise LookupError(ast.unparse(node))


def _name_of(python_type: Any, stated: str) -> str:
    if python_type is Any:
        return "any"
    return stated.strip("\"'") or python_type.__name__


def read_texts(given: Iterable[tuple[str, object]], parameters: Mapping[str, Parameter]) -> dict[str, object]:
    """Return values given as text (command line, YAML) in the types that the notebook declares."""
    return {
        name: parameters[name].read(value) if isinstance(value, str) and name in parameters else value
        for name, value in given
    }


def check(values: Mapping[str, object], parameters: Mapping[str, Parameter], notebook: str) -> None:
    """Check values against a notebook's parameters by name and type.

    Raises
    ------
    JobError
        Naming every value that doesn't fit, what was expected, and the parameters that there are.
    """
    problems = [problem for name, value in values.items() if (problem := _problem(name, value, parameters))]
    if not problems:
        return
    if parameters:
        listed = ", ".join(f"{p.name} ({p.type_name})" for p in parameters.values())
        remedy = _("Its parameters: {listed}.", listed=listed)
    else:
        remedy = _("It has none: tag the cell that assigns them with `parameters`.")
    raise JobError(_("{notebook}: {problems}.", notebook=notebook, problems="; ".join(problems)), remedy)


def _problem(name: str, value: object, parameters: Mapping[str, Parameter]) -> str:
    if name not in parameters:
        closest = difflib.get_close_matches(name, parameters, n=1)
        if closest:
            return _("there is no parameter '{name}', did you mean '{closest}'?", name=name, closest=closest[0])
        return _("there is no parameter '{name}'", name=name)
    if not parameters[name].accepts(value):
        return _(
            "parameter '{name}' is {wanted}, not {value!r} ({given})",
            name=name,
            wanted=parameters[name].type_name,
            value=value,
            given=type(value).__name__,
        )
    return ""
