"""Which arrays of a file are the examples and their classes."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.import_forms.way_form import WayForm
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.ways import Way

_ = translator(__file__)


class ArraysForm(WayForm):
    """Two choices of arrays."""

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        self.x = self.field(widgets.Dropdown, _("Array with the examples"))
        self.y = self.field(widgets.Dropdown, _("Array with the classes"))
        return (self.x, self.y)

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        for choice, key in ((self.x, "x"), (self.y, "y")):
            choice.options = found.columns
            choice.value = found.way.settings[key]

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        return way.told(x=self.x.value, y=self.y.value)
