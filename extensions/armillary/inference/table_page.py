"""The page of an app for tables: one field per feature, a button, and the classes with their probabilities."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets
from armillary_kernels.texts import translator

from armillary.errors import InferenceError
from armillary.inference.page import own_endpoint, own_release
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)
_STATIC = Path(__file__).parent / "static"

TOP = 5


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


def page_texts(language: str) -> dict[str, str]:
    """Return the texts of the page."""
    return {
        "predict": _("Predict", language=language),
        "result": _("Result", language=language),
        "unknown": _("(not known)", language=language),
        "not_a_number": _("“{field}” must be a number, or empty when it is not known.", language=language),
        "most_likely": _("Most likely: {name}, {percent} percent.", language=language),
        "failed": _("The model could not answer. Try again in a moment.", language=language),
        "disconnected": _("No answer came. Check the connection and try again.", language=language),
    }


class TablePage(anywidget.AnyWidget):
    """The widget of the page."""

    _esm = _STATIC / "table_page.js"
    _css = _STATIC / "page.css"

    texts = traitlets.Dict().tag(sync=True)
    fields: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(self, **options: Any) -> None:
        self._release = own_release()
        self._input = InputSpec.from_json(self._release.input)
        fields = [
            {"name": each.name, "choices": list(each.choices), "example": each.example}
            for each in form_fields(self._input)
        ]
        texts = {language: page_texts(language) for language in ("en", "zh")}
        super().__init__(texts=texts, fields=fields, **options)
        self.on_msg(self._answer)

    def _answer(self, _widget: Any, content: dict[str, Any], _buffers: list[memoryview]) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("values"), dict):
            return
        answer: dict[str, Any] = {"id": content.get("id")}
        try:
            answer["classes"] = self.classify(content["values"])
        except InferenceError:
            logging.getLogger("armillary.app").exception("The endpoint did not answer")
            answer["error"] = "failed"
        self.send(answer)

    def classify(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the most likely classes for one row, best first, with their probabilities.

        Raises
        ------
        InferenceError
            When the endpoint does not answer.
        """
        probabilities = own_endpoint().predict(self._input.prepare(row_of(self._input, values)))[0]
        best = np.argsort(-probabilities, kind="stable")[:TOP]
        names = self._release.class_names
        return [{"name": names[i], "probability": float(probabilities[i])} for i in best]
