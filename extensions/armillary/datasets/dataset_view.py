"""The part of the datasets panel that shows examples: class balance, then thumbnails or rows."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Image
from armillary.datasets.preview import Preview, thumbnail
from armillary.datasets.thumbnails import Thumbnails

_ = translator(__file__)

PAGE = 60
_ALL = -1
_STYLE = {"description_width": "initial"}


class DatasetView(widgets.VBox):
    """Shows a saved dataset, or the preview of files that are not saved yet."""

    def __init__(self) -> None:
        self._dataset: Dataset | None = None
        self._found = np.empty(0, np.int64)
        self._summary = widgets.HTML()
        self.split = widgets.Dropdown(description=_("Split"), style=_STYLE, layout={"width": "220px"})
        self.shown_class = widgets.Dropdown(description=_("Class"), style=_STYLE, layout={"width": "260px"})
        self._filters = widgets.HBox((self.split, self.shown_class), layout={"flex_flow": "row wrap"})
        self._table = widgets.HTML()
        self.thumbnails = Thumbnails()
        for control in (self.split, self.shown_class):
            control.observe(self._filter, "value")
        self.thumbnails.observe(self._turn, "page")
        super().__init__((self._summary, self._filters, self._table, self.thumbnails))
        self.clear()

    @property
    def shown(self) -> str | None:
        """The reference of the dataset shown, None for a preview or nothing."""
        return self._dataset.reference if self._dataset is not None else None

    def clear(self) -> None:
        """Show nothing."""
        self._dataset = None
        self.layout.display = "none"

    def show_preview(self, preview: Preview) -> None:
        """Show files that are not saved yet."""
        self._dataset = None
        self.layout.display = None
        self._filters.layout.display = "none"
        names, counts = list(preview.class_counts), list(preview.class_counts.values())
        self._summary.value = balance.styled(balance.balance(names, {"": counts})) if names else ""
        self._show_either(preview.kind)
        if preview.rows is not None:
            self._table.value = balance.styled(balance.rows(preview.rows, _("The first rows")))
        else:
            pictures, captions = [s.png for s in preview.samples], [s.class_name for s in preview.samples]
            self.thumbnails.show(_("Some of the pictures"), pictures, captions)

    def show_dataset(self, dataset: Dataset) -> None:
        """Show a saved version."""
        self._dataset = None  # the filters must not draw the old one while they change
        self.split.options = [(_("all"), ""), *((f"{_(name)} ({n:,})", name) for name, n in dataset.splits.items())]
        self.split.value = ""
        self.shown_class.options = [(_("all"), _ALL), *((name, i) for i, name in enumerate(dataset.class_names))]
        self.shown_class.value = _ALL
        self.shown_class.layout.display = None if dataset.class_names else "none"
        self._dataset = dataset
        self.layout.display = None
        self._filters.layout.display = None
        self._summary.value = balance.styled(self._described(dataset))
        self._show_either(_shown_as(dataset))
        self._filter()

    def _described(self, dataset: Dataset) -> str:
        spec = dataset.manifest.input
        facts = _(
            "{n} examples of {shape}; saved {time} by {author}",
            n=f"{len(dataset):,}",
            shape=" × ".join(map(str, spec.shape)) if spec else dataset.kind,
            time=dataset.manifest.created[:16].replace("T", " "),
            author=dataset.manifest.author,
        )
        counts = {split: list(numbers) for split, numbers in dataset.manifest.class_counts.items()}
        notes = _noticed(dataset.report)
        head = f'<h3>{escape(dataset.reference)}</h3><p class="arm-data-facts">{escape(facts)}</p>{notes}'
        return head + (balance.balance(dataset.class_names, counts) if counts else "")

    def _show_either(self, kind: str) -> None:
        self.thumbnails.layout.display = None if kind == "image" else "none"
        self._table.layout.display = "none" if kind == "image" else None

    def _filter(self, _change: Any = None) -> None:
        dataset = self._dataset
        if dataset is None:
            return
        split = self.split.value or None
        found = dataset.rows(split)
        if self.shown_class.value != _ALL:
            found = found[dataset.labels(split) == self.shown_class.value]
        elif _shown_as(dataset) == "image":  # class folders lie one after the other: mix them
            found = np.random.default_rng(0).permutation(found)
        self._found = found
        if _shown_as(dataset) == "table":
            frame = pd.DataFrame(dataset.take(found[:20].tolist()))
            self._table.value = balance.styled(balance.rows(frame, _("The first rows")))
        else:
            self._draw(0)

    def _turn(self, change: Any) -> None:
        if self._dataset is not None and change["new"] != getattr(self, "_drawn", None):
            self._draw(change["new"])

    def _draw(self, page: int) -> None:
        dataset = self._dataset
        if dataset is None:
            return
        self._drawn = page
        rows = self._found[page * PAGE : (page + 1) * PAGE]
        images = [thumbnail(data) for data in dataset.encoded_images(rows.tolist())]
        if dataset.target is None:
            captions = [_("example {n}", n=row + 1) for row in rows]
        else:
            labels = dataset.labels(None)
            captions = [dataset.class_names[labels[row]] for row in rows]
        title = _("{n} pictures", n=f"{len(self._found):,}")
        self.thumbnails.show(title, images, captions, page, math.ceil(len(self._found) / PAGE))


def _shown_as(dataset: Dataset) -> str:
    """Return ``"image"`` for a dataset with a column of images, else ``"table"``."""
    return "image" if any(isinstance(feature, Image) for feature in dataset.features.values()) else "table"


def _noticed(report: dict[str, Any]) -> str:
    """Return in words what the import noticed."""
    lines = []
    if report.get("missing"):
        listed = ", ".join(f"{name} ({count})" for name, count in report["missing"].items())
        lines.append(_("Missing values: {columns}", columns=listed))
    for key, text in (("skipped", _("Left out: {files}")), ("ignored", _("Ignored: {files}"))):
        entries = report.get(key, [])
        if entries:
            listed = ", ".join(f"{entry['file']} ({entry['reason']})" for entry in entries[:5])
            number = report.get(f"{key}_examples", len(entries))
            lines.append(text.format(files=listed + (f", … ({number:,})" if number > 5 else "")))
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
