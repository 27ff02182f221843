"""The tab that labels the version that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from armillary.datasets.dataset import Dataset

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel


class LabelTab(widgets.VBox):
    """A `LabellingView`; a version that is saved there is opened, and labelling goes on in it."""

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        #: The view, which is made when it is first shown.
        self.view: Any = None
        super().__init__()

    def show_dataset(self, dataset: Dataset) -> None:
        """Label a version."""
        if self.view is None:
            from armillary.datasets.labelling.labelling_view import LabellingView

            self.view = LabellingView(saved=self._saved)
            self.children = (self.view,)
        self.view.show_dataset(dataset)

    def _saved(self, dataset: Dataset) -> None:
        self._panel.show_dataset(dataset, "label")
