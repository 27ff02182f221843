"""The tab about a dataset's versions: what each is and came from, what changed, who may read it, and the card."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance, store
from armillary.datasets.card import describe
from armillary.datasets.dataset import Dataset
from armillary.datasets.history import diff
from armillary.datasets.manifest import Manifest, read_manifest
from armillary.datasets.sharing_form import SharingForm
from armillary.form import field, form

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel

_ = translator(__file__)


class VersionsTab(widgets.VBox):
    """Everything here is a call of `diff`, `share` or `describe`.

    Parameters
    ----------
    panel
        Shows what went wrong, and what was written.
    """

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        self._dataset: Dataset | None = None
        self.versions = widgets.HTML()
        self.other = field(widgets.Dropdown, _("Compare with version"), label="170px", width="300px")
        self.compare = widgets.Button(description=_("Compare"))
        self.compare.on_click(lambda _button: panel.guarded(self._show_difference))
        self.difference = widgets.HTML()
        self.description = field(widgets.Textarea, _("Description"), label="100px", width="640px", rows=4)
        self.tags = field(widgets.Text, _("Tags"), label="100px", width="640px", placeholder=_("birds, photographs"))
        self.write = widgets.Button(description=_("Write the card"))
        self.write.on_click(lambda _button: panel.guarded(self._write))
        self._comparison = widgets.HBox((self.other, self.compare), layout={"flex_flow": "row wrap"})
        self._card = form(self.description, self.tags, self.write)
        self.sharing = SharingForm(panel)
        super().__init__((self.versions, form(self._comparison), self.difference, self.sharing, self._card))

    def show_dataset(self, dataset: Dataset) -> None:
        """Show the versions of the dataset's name."""
        self._dataset = dataset
        folder = dataset.folder.parent
        known = [read_manifest(folder / str(number)) for number in store.versions(folder.parent, dataset.name)]
        self.versions.value = balance.styled(_table(known, dataset.version))
        others = [manifest.version for manifest in known if manifest.version != dataset.version]
        self.other.options = list(reversed(others))
        before = [number for number in others if number < dataset.version]
        if before:
            self.other.value = before[-1]
        self._comparison.layout.display = None if others else "none"
        self.difference.value = ""
        self.description.value, self.tags.value = dataset.card.description, ", ".join(dataset.card.tags)
        self._card.layout.display = None if dataset.owner is None else "none"
        self.sharing.show_dataset(dataset)

    def _show_difference(self) -> None:
        if self._dataset is not None:
            old, new = sorted((self.other.value, self._dataset.version))
            name = self._dataset.reference.rpartition("@")[0]  # with its owner, of another's
            found = diff(f"{name}@{old}", f"{name}@{new}")
            self.difference.value = balance.styled(f'<p role="status">{escape(str(found))}</p>')

    def _write(self) -> None:
        if self._dataset is not None:
            tags = [tag.strip() for tag in self.tags.value.replace("，", ",").split(",") if tag.strip()]
            describe(self._dataset.name, self.description.value, tags)
            self._panel.say(_("The card of {name} is written.", name=self._dataset.name), kind="done")


def _table(manifests: list[Manifest], opened: int) -> str:
    """Return a table of versions, the newest first."""
    heads = (_("Version"), _("Saved"), _("By"), _("Examples"), _("Made by"), _("From"), _("Licence"))
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    rows = "".join(_row(manifest, manifest.version == opened) for manifest in reversed(manifests))
    return balance.scrolling(_("Versions"), f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>", "arm-data-versions")


def _row(manifest: Manifest, is_open: bool) -> str:
    cells = (
        manifest.created[:16].replace("T", " "),
        manifest.author,
        f"{manifest.examples:,}",
        ", ".join(_step(step) for step in manifest.recipe),
        manifest.parent or manifest.source,
        manifest.licence or "–",
    )
    number = f"<strong>{manifest.version}</strong>" if is_open else str(manifest.version)
    current = ' aria-current="true"' if is_open else ""
    return f'<tr{current}><th scope="row">{number}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'


def _step(step: dict[str, Any]) -> str:
    """Return a step of a recipe as it would be called."""
    settings = ", ".join(f"{name}={value!r}" for name, value in step.items() if name != "step" and value is not None)
    return f"{step.get('step', '')}({settings})" if len(settings) <= 80 else f"{step.get('step', '')}(…)"
