"""Tabs that are walked with the arrow keys and wrap on a phone; the widgets they show are any widgets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from armillary_kernels import gate_passes
from armillary_kernels.texts import translator

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"


class Tabs(anywidget.AnyWidget):
    """A row of tabs; the widgets of those that are not ``selected`` are hidden.

    The widget of the one that is selected is shown by whoever observes that, when it has filled it in: a field that
    is filled in while a person types in it would mix both.

    Parameters
    ----------
    titles, widgets
        Of each tab.
    """

    _esm = (_STATIC / "tabs.js").read_text(encoding="utf-8")
    _css = (_STATIC / "tabs.css").read_text(encoding="utf-8")

    titles = traitlets.List(traitlets.Unicode()).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)

    def __init__(self, titles: Sequence[str], widgets: Sequence[Any]) -> None:
        self._widgets = tuple(widgets)
        super().__init__(titles=list(titles), label=_("What to do with the dataset"))
        gate_passes.add(self.comm.comm_id)
        self._hide({"new": self.selected})
        self.observe(self._hide, "selected")

    @traitlets.validate("selected")
    def _there_is_one(self, proposal: Any) -> int:
        return max(0, min(len(self._widgets) - 1, proposal["value"]))

    def _hide(self, change: Any) -> None:
        for number, widget in enumerate(self._widgets):
            if number != change["new"]:
                widget.layout.display = "none"
