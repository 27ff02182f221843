"""A tab that has a widget of its own for each version that was opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from armillary.datasets.dataset import Dataset

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel


class VersionTab(widgets.VBox):
    """Work on a version goes on, and what came of it stays, while another version is looked at.

    A widget, and the modules that it needs, are there only from when its version is first shown in this tab.
    """

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        self._made: dict[tuple[str, str], Any] = {}
        #: The widget of the version that is shown.
        self.shown: Any = None
        #: Widgets below it, which are the same for all versions.
        self.below: tuple[Any, ...] = ()
        super().__init__()

    def make(self, dataset: Dataset) -> Any:
        """Return a widget for a version."""
        raise NotImplementedError

    def show_dataset(self, dataset: Dataset) -> None:
        """Show the widget of a version."""
        key = dataset.reference, dataset.manifest.created  # a name can be taken again after its dataset was deleted
        if key not in self._made:
            self._made[key] = self.make(dataset)
        self.shown = self._made[key]
        self.children = (self.shown, *self.below)
