"""The form of one step: its kind from a list, and a field for each of its parameters."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.preparing.step import STEPS, Step
from armillary.errors import DatasetError
from armillary.form import field, form

_ = translator(__file__)

_LABEL, _WIDTH = "120px", "330px"
#: Parameters that a form cannot have: functions are written, not filled in.
_WRITTEN = frozenset({"function", "features", "columns"})


def titles() -> dict[str, str]:
    """Return the steps that a form can make, with what they do in a few words."""
    return {
        "resize": _("resize: pictures to one size"),
        "crop": _("crop: the middle of pictures"),
        "grey": _("grey: pictures without colours"),
        "normalise": _("normalise: pixels around 0"),
        "save_as": _("save_as: the format of picture files"),
        "flip": _("flip: pictures mirrored by chance"),
        "rotate": _("rotate: pictures turned by chance"),
        "shear": _("shear: pictures slanted by chance"),
        "zoom": _("zoom: parts of pictures enlarged by chance"),
        "colour": _("colour: brightness, contrast and colours changed by chance"),
        "noise": _("noise: added to pictures, sounds, arrays"),
        "mixup": _("mixup: two pictures over each other"),
        "impute": _("impute: missing values filled in"),
        "scale": _("scale: numbers to a common scale"),
        "encode": _("encode: categories as numbers"),
        "filter": _("filter: keep some examples"),
        "tokenise": _("tokenise: texts as numbers"),
        "back_off_words": _("back_off_words: words exchanged by chance"),
        "pad": _("pad: lists to one length"),
        "resample": _("resample: sounds to one rate"),
        "spectrogram": _("spectrogram: sounds as arrays"),
        "spec_augment": _("spec_augment: parts of spectrograms hidden by chance"),
        "sample_frames": _("sample_frames: pictures out of videos"),
    }


class StepForm(widgets.VBox):
    """The form.

    Parameters
    ----------
    columns
        The columns to offer.
    add
        Is given the step when the person adds it.
    """

    def __init__(self, columns: tuple[str, ...], add: Callable[[Step], None]) -> None:
        self._columns = columns
        self._add = add
        offered = [(title, name) for name, title in titles().items()]
        self.kind = field(widgets.Dropdown, _("Step"), options=offered, label=_LABEL, width="480px")
        self.chosen = field(
            widgets.SelectMultiple, _("Columns"), options=columns, rows=min(5, len(columns)), label=_LABEL
        )
        self.chosen.tooltip = _("None chosen means all that fit")
        self.button = widgets.Button(description=_("Add this step"), layout={"width": "max-content"})
        self.button.on_click(lambda _button: self._made())
        self.message = widgets.HTML()
        self.parameters: dict[str, Any] = {}
        self._place = widgets.VBox()
        super().__init__((form(self.kind), self._place, self.button, self.message))
        self.kind.observe(lambda _change: self._draw(), "value")
        self._draw()

    def step(self) -> Step:
        """Return the step that is filled in.

        Raises
        ------
        DatasetError
            When a parameter is wrong.
        """
        known = {each.name: each for each in fields(STEPS[self.kind.value])}
        values = {name: _value(known[name], control.value) for name, control in self.parameters.items()}
        if "column" not in known:
            values["columns"] = tuple(self.chosen.value)
        return STEPS[self.kind.value](**values)

    def _draw(self) -> None:
        kind = STEPS[self.kind.value]
        shown = [each for each in fields(kind) if each.name not in _WRITTEN]
        self.parameters = {each.name: self._control(kind, each) for each in shown}
        one_column = any(each.name == "column" for each in shown)
        self._place.children = (form(*self.parameters.values(), *(() if one_column else (self.chosen,))),)
        self.message.value = ""

    def _control(self, kind: type[Step], parameter: Field[Any]) -> Any:
        options: dict[str, Any] = {"label": _LABEL, "width": _WIDTH}
        default = None if parameter.default is MISSING else parameter.default
        if parameter.name == "column":
            return field(widgets.Dropdown, _("Column"), options=self._columns, **options)
        if parameter.name in kind.choices:
            return field(
                widgets.Dropdown, parameter.name, options=kind.choices[parameter.name], value=default, **options
            )
        if isinstance(default, bool):
            return field(widgets.Checkbox, parameter.name, value=default, **options)
        if isinstance(default, int) and "float" not in str(parameter.type):
            return field(widgets.IntText, parameter.name, value=default, **options)
        if isinstance(default, (int, float)):
            return field(widgets.FloatText, parameter.name, value=default, **options)
        hint = {"placeholder": _('dog, "cat, big"')} if parameter.name == "among" else {}
        return field(widgets.Text, parameter.name, value="", **hint, **options)

    def _made(self) -> None:
        try:
            self._add(self.step())
            self.message.value = ""
        except DatasetError as error:
            self.message.value = f'<p role="alert"><strong>{escape(error.what)}</strong> {escape(error.remedy)}</p>'


def _value(parameter: Field[Any], given: Any) -> Any:
    """Return what was filled in as the step takes it: of a text, a list, a number or nothing.

    In a list, what has a comma in it stands in quotation marks.
    """
    kind = str(parameter.type)
    if not isinstance(given, str) or parameter.default is MISSING or isinstance(parameter.default, str):
        return given
    if "tuple" in kind:
        parts = (part.strip() for part in next(csv.reader([given], skipinitialspace=True)))
        return tuple(_number(part) if "float" in kind else part for part in parts if part)
    if not given.strip():
        return None
    return _number(given.strip()) if "float" in kind else given.strip()


def _number(text: str) -> float | str:
    """Return a number, or the text where it is none; the step refuses that where it must."""
    try:
        return float(text)
    except ValueError:
        return text
