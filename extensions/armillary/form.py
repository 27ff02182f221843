"""The panels' forms: labels in one column, which break into lines rather than being cut where the place is narrow."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

_STYLE = """<style>
.arm-form .widget-inline-hbox { height: auto; align-items: center; }
.arm-form .widget-inline-hbox > .widget-label {
  height: auto; line-height: 1.3; overflow: visible; white-space: normal;
}
.arm-form .widget-dropdown > select { height: var(--jp-widgets-inline-height); }
</style>"""


def form(*rows: widgets.Widget) -> widgets.VBox:
    """Return the rows of a form, one below the other."""
    style = widgets.HTML(_STYLE, layout={"display": "none"})
    box = widgets.VBox((style, *rows))
    box.add_class("arm-form")
    return box


def field(kind: Any, description: str, *, label: str = "100px", width: str = "320px", **options: Any) -> Any:
    """Return a widget with its label, for a `form`.

    Parameters
    ----------
    kind
        The widget's class.
    description
        The label.
    label
        Width of the column of labels: that of the longest in the form.
    width
        Width of both together, where there is room.
    options
        For the widget.
    """
    style = {"description_width": f"min({label}, 42%)"}
    return kind(description=description, style=style, layout={"width": f"min({width}, 98%)"}, **options)
