"""Which part of a dataset of the Hugging Face hub."""

from __future__ import annotations

import re
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.import_forms.way_form import WayForm
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.ways import Way

_ = translator(__file__)


class HubForm(WayForm):
    """Its configuration, parts and column with the class; all of them may stay empty."""

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        self.config = self.field(widgets.Text, _("Configuration"), placeholder=_("the only one"))
        self.parts = self.field(widgets.Text, _("Parts"), placeholder="train[:5000], test")
        self.target = self.field(widgets.Text, _("Column with the class"), placeholder=_("the only one"))
        return (self.config, self.parts, self.target)

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        told = found.way.settings
        self.config.value, self.target.value = told["config"] or "", told["target"] or ""
        self.parts.value = ", ".join((told["parts"] or {}).values())

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        config, target = self.config.value.strip() or None, self.target.value.strip() or None
        return way.told(config=config, parts=_parts(self.parts.value), target=target)


def _parts(text: str) -> dict[str, str] | None:
    """Return a split here for each part, named as theirs: ``{"train": "train[:5000]"}``; None for all."""
    parts = [part for part in (piece.strip() for piece in re.split(r"[,，]", text)) if part]
    return {part.partition("[")[0]: part for part in parts} or None
