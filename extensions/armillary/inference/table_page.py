"""The page of an app for tables: one field per feature, a button, and the classes with their probabilities."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import traitlets
from armillary_kernels.texts import translator

from armillary.inference.app_page import AppPage, UnusableInputError
from armillary.inputs.input_spec import InputSpec
from armillary.inputs.preparation import RawField, raw_fields

_ = translator(__file__)


def form_fields(spec: InputSpec) -> list[RawField]:
    """Return the fields of a form for a table's raw examples."""
    return list(spec.preparation.fields if spec.preparation is not None else raw_fields(spec))


def row_of(spec: InputSpec, values: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Return the raw example ``(1, features)`` for what a visitor filled in; an empty field is a missing value."""
    if spec.preparation is not None:
        known = {field.name: _filled_in(field, values.get(field.name)) for field in spec.preparation.fields}
        values = spec.preparation.values(known)
    return np.array([[_number(column, values) for column in spec.columns]], dtype=np.float32)


def _filled_in(field: RawField, given: Any) -> Any:
    """Return what a visitor gave if it is what the field asks for, else None: it is missing."""
    if field.choices:
        return given if given in field.choices else None
    return given if isinstance(given, (int, float)) and math.isfinite(given) else None


def _number(column: str, values: dict[str, Any]) -> float:
    name, equals, category = column.partition("=")
    if equals and column not in values:
        return float(values.get(name) == category)
    given = values.get(column)
    return float(given) if isinstance(given, (int, float)) and math.isfinite(given) else math.nan


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
