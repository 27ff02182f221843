"""The pages of a dataset in a notebook: filters, a grid of images or a table of all kinds, and one example alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from armillary_kernels import gate_passes
from armillary_kernels.texts import translator

from armillary.datasets.browse import cells, charts
from armillary.datasets.browse.filters import ANY_COLUMN, Filters
from armillary.datasets.browse.histograms import has_histogram, histogram
from armillary.datasets.browse.media_messages import answers
from armillary.datasets.browse.pages import PAGE, Page, Pages
from armillary.datasets.dataset import Dataset
from armillary.errors import ArmillaryError, DatasetError
from armillary.esm import together

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"
#: Seconds that are searched before the browser is told what there is so far.
_PATIENCE = 0.4
#: Columns whose distribution is drawn.
_CHARTS = 24


def _texts() -> dict[str, str]:
    return {
        "title": _("Examples"),
        "filters": _("Which examples"),
        "split": _("Split"),
        "class": _("Class"),
        "text": _("With the text"),
        "missing": _("Without a value in"),
        "all": _("all"),
        "nowhere": _("–"),
        "any": _("any column"),
        "clear": _("Show all"),
        "shown": _("{first}–{last} of {total} examples"),
        "found": _("{first}–{last} of those found so far; {percent} % searched"),
        "searching": _("Searching: {percent} % of the dataset, {n} found"),
        "none": _("No example is like that."),
        "previous": _("Previous page"),
        "next": _("Next page"),
        "page": _("Page"),
        "pages": _("of {pages}"),
        "row": _("Example"),
        "example": _("Example {n}"),
        "missing_value": _("missing"),
        "damaged": _("damaged"),
        "play": _("Play"),
        "pause": _("Pause"),
        "seconds": _("{n} s"),
        "frame": _("Frame at {n} s"),
        "begins": _("the first {n} s"),
        "cut": _("… {n} characters in all"),
        "cut_tokens": _("… {n} words in all"),
        "some_boxes": _("{shown} of {n} boxes are drawn"),
        "close": _("Close"),
        "before": _("Example before"),
        "after": _("Example after"),
        "loading": _("Loading …"),
        "distributions": _("How the values are distributed"),
        "train": _("train"),
        "validation": _("validation"),
        "test": _("test"),
    }


class ExamplesView(anywidget.AnyWidget):
    """Shows pages of a dataset.

    The browser asks for images, sounds and videos when they can be seen. Arrow keys, Home and End move between
    examples, Page Up and Page Down between pages, Enter opens one.

    Attributes
    ----------
    pages
        What is shown, None for nothing.
    page
        The page that is shown: ``number``, ``pages``, ``total``, ``searched``, and of each of its ``rows`` the number,
        the split and the `cells.cells_of` it.
    problem
        What is wrong, in words.
    """

    _esm = together(_STATIC / "media.js", _STATIC / "cells.js", _STATIC / "example.js", _STATIC / "examples.js")
    _css = (_STATIC / "examples.css").read_text(encoding="utf-8")

    texts = traitlets.Dict().tag(sync=True)
    dataset = traitlets.Unicode("").tag(sync=True)
    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)
    filters = traitlets.Dict().tag(sync=True)
    page = traitlets.Dict().tag(sync=True)
    charts = traitlets.Unicode("").tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)

    def __init__(self) -> None:
        super().__init__(texts=_texts())
        self.pages: Pages | None = None
        self._checking: threading.Thread | None = None
        self.on_msg(self._receive)
        gate_passes.add(self.comm.comm_id)  # looking needs no GPU

    def show(self, dataset: Dataset | None) -> None:
        """Show the first page of a dataset, or nothing."""
        self.pages = Pages(dataset) if dataset is not None else None
        with self.hold_sync():
            self.dataset = dataset.reference if dataset is not None else ""
            self.columns = cells.columns_of(dataset.features) if dataset is not None else []
            self.choices = _choices(dataset) if dataset is not None else {}
            self.filters, self.charts, self.problem = {}, "", ""
            self.turn(0)

    def filter(self, filters: Filters) -> None:
        """Show the first page of the examples that pass.

        Raises
        ------
        DatasetError
            When there is no such split, class or column.
        """
        if self.pages is None:
            return
        self.pages = Pages(self.pages.dataset, filters)
        with self.hold_sync():
            self.filters = {name: getattr(filters, name) for name in ("split", "class_name", "text", "missing")}
            self.turn(0)

    def turn(self, number: int) -> None:
        """Show a page, or go on with searching for it.

        Raises
        ------
        DatasetError
            When there is no such page, or a shard is missing or damaged.
        """
        if self.pages is None:
            self.page = {}
            return
        self.page = _described(self.pages, self.pages.page(number, _PATIENCE))
        self._check()

    def _check(self) -> None:
        """Compare the shards that were read with their hashes, without making anybody wait."""
        pages = self.pages
        if pages is not None and pages.has_unchecked and (self._checking is None or not self._checking.is_alive()):
            self._checking = threading.Thread(target=self._compare_hashes, args=(pages,), daemon=True)
            self._checking.start()

    def _compare_hashes(self, pages: Pages) -> None:
        try:
            pages.check()
        except DatasetError as error:
            if self.pages is not None and self.pages.dataset is pages.dataset:
                self.problem = f"{error.what} {error.remedy}"

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        acts = {"filter": self._filter, "turn": self._turn, "media": self._media, "charts": self._draw}
        act = acts.get(content.get("action", ""))
        if act is None or self.pages is None or content.get("dataset") != self.dataset:
            return
        try:
            self.problem = "" if content["action"] in ("filter", "turn") else self.problem
            act(content)
        except ArmillaryError as error:
            self.problem = f"{error.what} {error.remedy}"
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
        # See RunView._hear_in_subshell: a person may look while a cell runs.
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def _filter(self, content: dict[str, Any]) -> None:
        given = content.get("filters", {})
        names = {name: given.get(name) or None for name in ("split", "class_name", "missing")}
        self.filter(Filters(**names, text=str(given.get("text") or "")))

    def _turn(self, content: dict[str, Any]) -> None:
        self.turn(int(content["page"]))

    def _media(self, content: dict[str, Any]) -> None:
        if self.pages is not None:
            items, buffers = answers(self.pages, content["wanted"])
            self.send({"type": "media", "dataset": self.dataset, "items": items}, buffers)

    def _draw(self, _content: dict[str, Any]) -> None:
        if self.pages is not None:
            dataset = self.pages.dataset
            counted = [name for name, feature in dataset.features.items() if has_histogram(feature)]
            self.charts = "".join(charts.chart(histogram(dataset, name)) for name in counted[:_CHARTS])

    def close(self) -> None:
        """Remove the widget."""
        if self.comm is not None:
            gate_passes.discard(self.comm.comm_id)
        super().close()


def _choices(dataset: Dataset) -> dict[str, Any]:
    return {
        "splits": [[name, count] for name, count in dataset.splits.items()],
        "classes": list(dataset.class_names),
        "missing": [ANY_COLUMN, *dataset.features],
        "target": dataset.target or "",
    }


def _described(pages: Pages, page: Page) -> dict[str, Any]:
    features = pages.dataset.features
    shown = zip(page.rows, page.splits, page.examples, strict=True)
    return {
        "number": page.number,
        "size": PAGE,
        "pages": page.pages,
        "total": page.total,
        "searched": page.searched,
        "more": page.more,
        "rows": [
            {"row": row, "split": split, "cells": cells.cells_of(features, example)} for row, split, example in shown
        ],
    }
