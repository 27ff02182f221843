"""The two languages of translation pairs."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.import_forms.way_form import WayForm
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.ways import Way

_ = translator(__file__)


class TranslationForm(WayForm):
    """The language of the originals and that of the translations, as codes."""

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        self.original = self.field(widgets.Text, _("Translated from"), placeholder="en")
        self.translation = self.field(widgets.Text, _("Translated into"), placeholder="zh")
        return (self.original, self.translation)

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        self.original.value, self.translation.value = found.way.settings["languages"]

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        return way.told(languages=(self.original.value.strip(), self.translation.value.strip()))
