"""The panel for datasets: upload or pick files, look at them, name them, save a version; or open a saved one."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset, list_datasets, open_dataset
from armillary.datasets.dataset_view import DatasetView
from armillary.datasets.importing.images import import_images
from armillary.datasets.importing.table_files import is_table
from armillary.datasets.importing.tables import import_table
from armillary.datasets.preview import Preview, preview
from armillary.datasets.uploading.uploader import Uploader
from armillary.errors import ArmillaryError

_ = translator(__file__)

_STYLE = {"description_width": "initial"}
_NEW = ""


class DatasetsPanel(widgets.VBox):
    """Everything here is a call of `import_images`, `import_table`, `preview` or `open`.

    Attributes
    ----------
    dataset
        The version that was saved or opened last, or None.
    """

    def __init__(self, dataset: Dataset | str | None = None) -> None:
        self.dataset: Dataset | None = None
        self._path: Path | None = None
        self._preview: Preview | None = None
        self.chooser = widgets.Dropdown(description=_("Dataset"), style=_STYLE, layout={"width": "360px"})
        self.version = widgets.Dropdown(description=_("Version"), style=_STYLE, layout={"width": "150px"})
        self.uploader = Uploader()
        self._build_form()
        self.message = widgets.HTML()
        self.progress = widgets.HTML()
        self.view = DatasetView()
        top = widgets.HBox((self.chooser, self.version), layout={"flex_flow": "row wrap"})
        super().__init__((top, self._source, self._form, self.progress, self.message, self.view))
        self._list(open_dataset(dataset).name if dataset is not None else _NEW)
        self.chooser.observe(self._chosen, "value")
        self.version.observe(self._version_chosen, "value")
        self.uploader.observe(self._uploaded, "file")
        self._chosen()
        if dataset is not None:
            self._show(open_dataset(dataset))

    def _build_form(self) -> None:
        self.path = widgets.Text(
            description=_("or a path here"), placeholder="~/flowers.zip", style=_STYLE, layout={"width": "420px"}
        )
        self.look = widgets.Button(description=_("Look at it"))
        self.look.on_click(self._picked)
        self.name = widgets.Text(description=_("Name"), style=_STYLE, layout={"width": "260px"})
        self.target = widgets.Dropdown(description=_("Column with the class"), style=_STYLE, layout={"width": "320px"})
        self.target.observe(self._target_chosen, "value")
        choices = [(_("stop"), "stop"), (_("leave out"), "skip"), (_("set aside"), "set_aside")]
        self.on_error = widgets.Dropdown(
            options=choices, description=_("Unusable examples"), style=_STYLE, layout={"width": "230px"}
        )
        self.shares = {
            split: widgets.BoundedIntText(percent, min=0, max=100, description=f"{_(split)} %", style=_STYLE)
            for split, percent in (("train", 80), ("validation", 10), ("test", 10))
        }
        for share in self.shares.values():
            share.layout.width = "160px"
        self.seed = widgets.BoundedIntText(0, min=0, max=2**31, description=_("Seed"), style=_STYLE)
        self.seed.layout.width = "140px"
        self.save = widgets.Button(description=_("Save a version"), button_style="primary")
        self.save.on_click(self._save)
        pick = widgets.HBox((self.path, self.look), layout={"flex_flow": "row wrap"})
        self._source = widgets.VBox((self.uploader, pick), layout={"max_width": "720px"})
        self._form = widgets.VBox(
            (
                widgets.HBox((self.name, self.target, self.on_error), layout={"flex_flow": "row wrap"}),
                widgets.HBox((*self.shares.values(), self.seed), layout={"flex_flow": "row wrap"}),
                self.save,
            )
        )

    def _list(self, name: str) -> None:
        self._infos = {info.name: info for info in list_datasets()}
        entries = [(f"{info.name} ({info.examples:,})", info.name) for info in self._infos.values()]
        self.chooser.options = [(_("a new one"), _NEW), *entries]
        self.chooser.value = name

    def _chosen(self, _change: Any = None) -> None:
        name = self.chooser.value
        new = name == _NEW
        self._source.layout.display = None if new else "none"
        self._form.layout.display = None if new and self._preview else "none"
        self.version.layout.display = "none" if new else None
        self._say("")
        if new:
            self.view.clear()
            if self._preview:
                self.view.show_preview(self._preview)
            return
        self.version.options = list(reversed(self._infos[name].versions))
        self.version.value = self._infos[name].versions[-1]
        self._version_chosen()

    def _version_chosen(self, _change: Any = None) -> None:
        if self.chooser.value and self.version.value:
            reference = f"{self.chooser.value}@{self.version.value}"
            if self.view.shown != reference:
                self._guarded(lambda: self._show(open_dataset(reference)))

    def _show(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.view.show_dataset(dataset)
        self.version.value = dataset.version

    def _uploaded(self, change: Any) -> None:
        if change["new"] is not None:
            self._look(change["new"])

    def _picked(self, _button: Any) -> None:
        if self.path.value.strip():
            self._look(Path(self.path.value.strip()).expanduser())

    def _look(self, path: Path) -> None:
        """Show what a file holds and offer to save it."""
        self._path, self._preview = path, None
        self._form.layout.display = "none"
        self.view.clear()
        self._guarded(lambda: self._show_preview(path))

    def _show_preview(self, path: Path) -> None:
        self._say(_("Reading {name} …", name=path.name))
        found = preview(path)
        self._say("")
        self.target.layout.display = None if found.columns else "none"
        self.target.options = found.columns
        if found.columns:
            self.target.value = found.target
        self._preview = found
        self.name.value = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._") or "data"
        self._form.layout.display = None
        self.view.show_preview(found)

    def _target_chosen(self, change: Any) -> None:
        if change["new"] and self._preview is not None and self._preview.columns:
            self._guarded(lambda: self.view.show_preview(preview(self._path or "", change["new"])))

    def _save(self, _button: Any) -> None:
        self.save.disabled = True
        try:
            self._guarded(self._import)
        finally:
            self.save.disabled = False
            self.progress.value = ""

    def _import(self) -> None:
        if self._path is None:
            return
        options: dict[str, Any] = {
            "split": {split: share.value / 100 for split, share in self.shares.items()},
            "seed": self.seed.value,
            "on_error": self.on_error.value,
            "progress": self._advance,
        }
        name = self.name.value.strip()
        if is_table(self._path):
            dataset = import_table(self._path, name, self.target.value, **options)
        else:
            dataset = import_images(self._path, name, **options)
        self._preview = None
        self.dataset = dataset
        self._list(dataset.name)
        self._chosen()
        self._show(dataset)
        self._say(_("{reference} is saved.", reference=dataset.reference), kind="done")

    def _advance(self, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        if percent != getattr(self, "_percent", None):
            self._percent = percent
            label = escape(_("Saving"))
            bar = f'<label>{label} <progress max="100" value="{percent}"></progress></label> {percent} %'
            self.progress.value = balance.styled(f"<p>{bar}</p>")

    def _guarded(self, action: Any) -> None:
        """Do it, or say in words why not; nothing a person does here ends in a silent failure."""
        try:
            action()
        except ArmillaryError as error:
            self._say(error.what, error.remedy, kind="error")
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}", kind="error")

    def _say(self, what: str, remedy: str = "", kind: str = "") -> None:
        role = "alert" if kind == "error" else "status"
        text = f"<strong>{escape(what)}</strong> {escape(remedy)}" if kind else escape(what)
        self.message.value = balance.styled(f'<p role="{role}" class="arm-data-{kind or "note"}">{text}</p>')
