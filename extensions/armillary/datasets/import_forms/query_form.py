"""What a database is asked for."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.import_forms.target_form import TargetForm
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.ways import Way

_ = translator(__file__)


class QueryForm(TargetForm):
    """A query in SQL, and which of its columns has the class."""

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        self.query = self.field(widgets.Textarea, _("Query (SQL)"), rows=3, width="640px")
        return (self.query, *super().build())

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        super().fill(found)
        self.query.value = found.way.settings["query"]

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        return super().told(way).told(query=self.query.value)
