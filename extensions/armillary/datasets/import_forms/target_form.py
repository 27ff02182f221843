"""Which column of a table has the class."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.import_forms.way_form import WayForm
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.ways import Way

_ = translator(__file__)


class TargetForm(WayForm):
    """A choice of columns, or none."""

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        self.target = self.field(widgets.Dropdown, _("Column with the class"))
        return (self.target,)

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        self.target.options = [*((name, name) for name in found.columns), (_("none"), "")]
        self.target.value = found.target or ""

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        return way.told(target=self.target.value)
