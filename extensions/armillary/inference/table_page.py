"""The page of an app for tables: one field per feature, a button, and the classes with their probabilities."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import traitlets
from armillary_kernels.texts import translator

from armillary.inference.app_page import AppPage, UnusableInputError
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)


@dataclass(frozen=True)
class FormField:
    """One field: a number, or with ``choices`` a category. ``example`` is a usual value."""

    name: str
    choices: tuple[str, ...] = ()
    example: float = 0.0


def form_fields(spec: InputSpec) -> list[FormField]:
    """Return the fields of a form for a table's features; the columns ``colour=red``, ``colour=blue`` are one."""
    fields: dict[str, FormField] = {}
    for column, mean in zip(spec.columns, spec.mean, strict=True):
        name, equals, value = column.partition("=")
        if equals:
            known = fields.get(name, FormField(name))
            fields[name] = FormField(name, (*known.choices, value))
        else:
            fields[column] = FormField(column, example=float(f"{mean:.3g}"))
    return list(fields.values())


def row_of(spec: InputSpec, values: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Return the raw example ``(1, features)`` for what a visitor filled in; an empty field is a missing value."""
    row = []
    for column in spec.columns:
        name, equals, value = column.partition("=")
        given = values.get(name if equals else column)
        if equals:
            row.append(float(given == value))
        else:
            row.append(float(given) if isinstance(given, (int, float)) and math.isfinite(given) else math.nan)
    return np.array([row], dtype=np.float32)


class TablePage(AppPage):
    """The widget of the page; a message's ``values`` are what is filled in, by the names of the fields."""

    input_file = "table_input.js"

    fields: traitlets.List[Any] = traitlets.List().tag(sync=True)

    @traitlets.default("fields")
    def _form(self) -> list[dict[str, Any]]:
        return [asdict(field) for field in form_fields(self._input)]

    @staticmethod
    def input_texts(language: str) -> dict[str, str]:
        """Return the texts about forms."""
        return {
            "predict": _("Predict", language=language),
            "working": _("Asking the model…", language=language),
            "unknown": _("(not known)", language=language),
            "not_a_number": _("“{field}” must be a number, or empty when it is not known.", language=language),
        }

    def raw_examples(self, content: dict[str, Any], _buffers: list[memoryview]) -> npt.NDArray[np.float32]:
        """Return the row as ``(1, features)``."""
        values = content.get("values")
        if not isinstance(values, dict):
            raise UnusableInputError("failed")
        return row_of(self._input, values)
