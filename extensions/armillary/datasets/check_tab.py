"""The tab that checks the version that is open."""

from __future__ import annotations

from typing import Any

from armillary.datasets.dataset import Dataset
from armillary.datasets.version_tab import VersionTab


class CheckTab(VersionTab):
    """A `CheckPanel` for each version; a version that is saved there is opened."""

    def make(self, dataset: Dataset) -> Any:
        """Return the panel that checks a version."""
        from armillary.datasets.checking.check_panel import CheckPanel

        return CheckPanel(dataset, saved=self._panel.show_saved)
