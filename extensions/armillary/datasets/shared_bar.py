"""What can be done with a dataset that another person shares, said above the tabs, and a copy of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.copying import copy
from armillary.datasets.dataset import Dataset
from armillary.form import field, form

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel

_ = translator(__file__)


class SharedBar(widgets.VBox):
    """Everything here is a call of `armillary.datasets.copy`; it is seen while another's dataset is open."""

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        self._dataset: Dataset | None = None
        self.told = widgets.HTML()
        self.name = field(widgets.Text, _("My copy"), label="130px", width="360px")
        self.copy = widgets.Button(description=_("Copy as my own"), layout={"width": "auto"})
        self.copy.on_click(self._copy)
        row = widgets.HBox((self.name, self.copy), layout={"flex_flow": "row wrap"})
        super().__init__((self.told, form(row)), layout={"display": "none"})

    def show_dataset(self, dataset: Dataset | None) -> None:
        """Say whose it is, if it is another's."""
        theirs = dataset is not None and dataset.owner is not None
        self._dataset = dataset if theirs else None
        if dataset is not None and theirs:
            self.name.value = dataset.name
            self.told.value = balance.styled(f'<p class="arm-data-shared">{_sentence(dataset)}</p>')
        self.layout.display = None if theirs else "none"

    def _copy(self, _button: Any) -> None:
        if self._dataset is not None:
            dataset, name = self._dataset, self.name.value.strip()
            self._panel.guarded(lambda: self._panel.show_saved(copy(dataset, name or None)))


def _sentence(dataset: Dataset) -> str:
    from armillary.datasets.labelling import projects

    owner = dataset.owner
    first = _("{owner} shares this dataset; only {owner} can change it.", owner=owner)
    then = _("You can look at it, check it and train on it; what you save from it is your own.")
    names = ", ".join(project.name for project in projects(dataset))
    label = _("Under Label, you can help in: {projects}.", projects=names) if names else ""
    return f"<strong>{escape(first)}</strong> {escape(then)} {escape(label)}"
