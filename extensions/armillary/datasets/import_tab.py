"""The tab that imports: upload or pick files, see what they hold, name them, save a version."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset
from armillary.datasets.preview import Preview, preview, save_previewed
from armillary.datasets.thumbnails import Thumbnails
from armillary.datasets.uploading.uploader import Uploader
from armillary.form import field, form

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel

_ = translator(__file__)


class ImportTab(widgets.VBox):
    """Everything here is a call of `preview` and of the import that it names.

    Parameters
    ----------
    panel
        Shows what went wrong, and what was saved.
    """

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        self._path: Path | None = None
        self._preview: Preview | None = None
        self.uploader = Uploader()
        self.progress = widgets.HTML()
        self.found = widgets.HTML()
        self.thumbnails = Thumbnails()
        self._build_form()
        super().__init__((self._source, self._form, self.progress, self.found, self.thumbnails))
        self.uploader.observe(self._uploaded, "file")
        self._clear()

    def _build_form(self) -> None:
        self.path = field(widgets.Text, _("or a path here"), label="130px", width="460px", placeholder="~/flowers.zip")
        self.look = widgets.Button(description=_("Look at it"))
        self.look.on_click(self._picked)
        self.name = field(widgets.Text, _("Name"), label="150px", width="420px")
        self.target = field(widgets.Dropdown, _("Column with the class"), label="150px", width="420px")
        self.target.observe(self._target_chosen, "value")
        choices = [(_("stop"), "stop"), (_("leave out"), "skip"), (_("set aside"), "set_aside")]
        self.on_error = field(widgets.Dropdown, _("Unusable examples"), label="150px", width="420px", options=choices)
        self.shares = {
            split: field(widgets.BoundedIntText, f"{_(split)} %", label="100px", width="185px", value=percent, max=100)
            for split, percent in (("train", 80), ("validation", 10), ("test", 10))
        }
        self.seed = field(widgets.BoundedIntText, _("Seed"), label="100px", width="185px", value=0, max=2**31)
        self.save = widgets.Button(description=_("Save a version"), button_style="primary")
        self.save.on_click(self._save)
        pick = widgets.HBox((self.path, self.look), layout={"flex_flow": "row wrap"})
        self._source = form(self.uploader, pick)
        self._source.layout.max_width = "720px"
        shares = widgets.HBox((*self.shares.values(), self.seed), layout={"flex_flow": "row wrap"})
        self._form = form(self.name, self.target, self.on_error, shares, self.save)

    def show_dataset(self, dataset: Dataset) -> None:
        """Do nothing: what is imported has nothing to do with what is open."""

    def _clear(self) -> None:
        self._preview = None
        self.found.value = ""
        self._form.layout.display = "none"
        self.thumbnails.layout.display = "none"

    def _uploaded(self, change: Any) -> None:
        if change["new"] is not None:
            self._look(change["new"])

    def _picked(self, _button: Any) -> None:
        if self.path.value.strip():
            self._look(Path(self.path.value.strip()).expanduser())

    def _look(self, path: Path) -> None:
        """Show what a file holds and offer to save it."""
        self._path = path
        self._clear()
        self._panel.guarded(lambda: self._show_preview(path))

    def _show_preview(self, path: Path) -> None:
        self._panel.say(_("Reading {name} …", name=path.name))
        found = preview(path)
        self._panel.say("")
        self.target.layout.display = None if found.columns else "none"
        self.target.options = found.columns
        if found.columns:
            self.target.value = found.target
        self._preview = found
        self.name.value = re.sub(r"[^a-z0-9._-]+", "-", _stem(path).lower()).strip("-._") or "data"
        self._form.layout.display = None
        self._draw(found)

    def _draw(self, found: Preview) -> None:
        names, counts = list(found.class_counts), list(found.class_counts.values())
        parts = [balance.balance(names, {"": counts})] if names else []
        if found.rows is not None:
            parts.append(balance.rows(found.rows, _("The first rows")))
        self.found.value = balance.styled("".join(parts))
        self.thumbnails.layout.display = None if found.samples else "none"
        pictures, captions = [s.png for s in found.samples], [s.class_name for s in found.samples]
        self.thumbnails.show(_("Some of the pictures"), pictures, captions)

    def _target_chosen(self, change: Any) -> None:
        if change["new"] and self._preview is not None and self._preview.columns:
            self._panel.guarded(lambda: self._draw(preview(self._path or "", change["new"])))

    def _save(self, _button: Any) -> None:
        self.save.disabled = True
        try:
            self._panel.guarded(self._import)
        finally:
            self.save.disabled = False
            self.progress.value = ""

    def _import(self) -> None:
        if self._path is None or self._preview is None:
            return
        dataset = save_previewed(
            self._path,
            self._preview,
            self.name.value.strip(),
            target=self.target.value,
            split={split: share.value / 100 for split, share in self.shares.items()},
            seed=self.seed.value,
            on_error=self.on_error.value,
            progress=self._advance,
        )
        self._clear()
        self.uploader.forget()
        self._panel.show_saved(dataset)

    def _advance(self, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        if percent != getattr(self, "_percent", None):
            self._percent = percent
            label = escape(_("Saving"))
            bar = f'<label>{label} <progress max="100" value="{percent}"></progress></label> {percent} %'
            self.progress.value = balance.styled(f"<p>{bar}</p>")


def _stem(path: Path) -> str:
    """Return a file's name without its endings: ``birds`` of ``birds.tar.gz``."""
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz")
    return Path(path.stem).stem if packed else path.stem if path.is_file() else path.name
