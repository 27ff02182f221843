"""The tab that prepares the version that is open by a recipe, and divides it into splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from armillary.datasets.dataset import Dataset
from armillary.datasets.split_form import SplitForm
from armillary.datasets.version_tab import VersionTab

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel


class PrepareTab(VersionTab):
    """A `RecipeView` for each version; the recipe goes along to other versions of the same dataset."""

    def __init__(self, panel: DatasetsPanel) -> None:
        super().__init__(panel)
        #: Divides the version that is shown.
        self.splitting = SplitForm(self._open)
        self.below = (self.splitting,)

    def make(self, dataset: Dataset) -> Any:
        """Return the view of a recipe for a version."""
        from armillary.datasets.preparing.recipe_view import RecipeView

        same = self.shown is not None and self.shown.source.name == dataset.name
        recipe = self.shown.recipe if same else None
        return RecipeView(dataset, recipe=recipe, saved=lambda prepared: self._open(dataset, prepared))

    def show_dataset(self, dataset: Dataset) -> None:
        """Show the recipe and the splits of a version."""
        super().show_dataset(dataset)
        self.splitting.show_dataset(dataset)

    def _open(self, source: Dataset, prepared: Dataset) -> None:
        """Open what was prepared, unless the person has turned to another dataset in the meantime."""
        is_open = self._panel.dataset
        if is_open is not None and is_open.reference == source.reference:
            self._panel.show_saved(prepared)
        else:
            self._panel.list_again()
            self._panel.say_saved(prepared)
