"""Who may read a version: a box for each of one's groups."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset
from armillary.datasets.sharing import EVERYONE, NOBODY, Access, access, own_groups, share
from armillary.form import form

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel

_ = translator(__file__)


class SharingForm(widgets.VBox):
    """Everything here is a call of `share`; it is seen where there is a place for shared datasets."""

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        self._dataset: Dataset | None = None
        self.title, self.told = widgets.HTML(), widgets.HTML()
        self.boxes: dict[str, Any] = {}
        self._row = widgets.HBox(layout={"flex_flow": "row wrap"})
        self.share = widgets.Button(description=_("Save who may read it"), layout={"width": "auto"})
        self.share.on_click(lambda _button: panel.guarded(self._share))
        super().__init__(
            (self.title, form(self._row, widgets.HBox((self.share,))), self.told), layout={"display": "none"}
        )

    def show_dataset(self, dataset: Dataset) -> None:
        """Show who may read a version, and offer to change that if it is one's own."""
        groups = own_groups()
        self._dataset = dataset
        self.layout.display = None if groups else "none"
        if not groups:
            return
        mine = dataset.owner is None
        title = _("Who else may read {reference}", reference=dataset.reference)
        self.title.value = balance.styled(f"<h3>{escape(title)}</h3>")
        self._row.layout.display = self.share.layout.display = None if mine else "none"
        known = access(dataset)
        if list(self.boxes) != list(groups):
            self.boxes = {group: _box(group) for group in groups}
            self._row.children = tuple(self.boxes.values())
        self._show(known)

    def _show(self, known: Access) -> None:
        for group, box in self.boxes.items():
            box.value = group in known.groups
        self.told.value = balance.styled(f'<p class="arm-data-facts" role="status">{escape(str(known))}</p>')

    def _share(self) -> None:
        if self._dataset is not None:
            chosen = [group for group, box in self.boxes.items() if box.value]
            wanted = [group if group == EVERYONE else f"group:{group}" for group in chosen]
            known = share(self._dataset, wanted or NOBODY)
            self._show(known)
            who = ", ".join(_named(group) for group in chosen)
            done = _("{reference} is shared with {who}.", reference=self._dataset.reference, who=who)
            nobody = _("{reference} is no longer shared.", reference=self._dataset.reference)
            self._panel.say(done if chosen else nobody, kind="done")


def _box(group: str) -> Any:
    return widgets.Checkbox(description=_named(group), indent=False, layout={"width": "auto", "margin": "0 20px 0 2px"})


def _named(group: str) -> str:
    return _("everyone") if group == EVERYONE else _("the group {name}", name=group)
