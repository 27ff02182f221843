"""How a version is divided into train, validation and test: at random, by group, by time, or as a column says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset
from armillary.datasets.features import ClassLabel, Feature, Value
from armillary.datasets.long_work import LongWork, Progress
from armillary.errors import DatasetError
from armillary.form import field, form

_ = translator(__file__)

_LABEL, _WIDTH = "140px", "480px"
_NUMBERS, _TEXTS = ("int", "uint", "float"), ("string", "large_string", "string_view")
_TIMES = (*_NUMBERS, *_TEXTS, "timestamp", "date", "time")


class SplitForm(widgets.VBox):
    """Everything here is a call of `Dataset.split`.

    Parameters
    ----------
    saved
        Called with the version that was divided and with the new one, in the thread that did it.
    """

    def __init__(self, saved: Callable[[Dataset, Dataset], None]) -> None:
        self._saved = saved
        self._dataset: Dataset | None = None
        self._quiet = False
        self.work = LongWork(_("Divide"), _("Dividing"), _("Cancelled. Nothing was saved."), lambda: None)
        self.work.start.button_style = ""
        self.work.start.on_click(lambda _button: self._start())
        self.title = widgets.HTML()
        self._build_controls()
        self._shares = widgets.HBox((*self.shares.values(), self.seed), layout={"flex_flow": "row wrap"})
        buttons = widgets.HBox((self.work.start, self.work.cancel))
        rows = (self.way, self.groups, self.column, self._shares, self.duplicates, buttons)
        super().__init__((self.title, form(*rows), self.work.progress, self.work.message))

    def _build_controls(self) -> None:
        self.way = field(widgets.Dropdown, _("Divide"), label=_LABEL, width=_WIDTH)
        self.way.observe(lambda _change: self._show_way(), "value")
        self.groups = field(widgets.SelectMultiple, _("Same value in"), label=_LABEL, width=_WIDTH, rows=4)
        self.column = field(widgets.Dropdown, _("Column"), label=_LABEL, width=_WIDTH)
        self.shares = {
            split: field(widgets.BoundedIntText, f"{_(split)} %", label=_LABEL, width="240px", value=percent, max=100)
            for split, percent in (("train", 80), ("validation", 10), ("test", 10))
        }
        self.seed = field(widgets.BoundedIntText, _("Seed"), label=_LABEL, width="240px", value=0, max=2**31)
        choices = [
            (_("as usual: together, but in tables"), None),
            (_("stay together"), True),
            (_("may be parted"), False),
        ]
        self.duplicates = field(widgets.Dropdown, _("Equal examples"), label=_LABEL, width=_WIDTH, options=choices)

    def show_dataset(self, dataset: Dataset) -> None:
        """Offer the ways to divide a version that its columns allow."""
        self._dataset = dataset
        self.work.say("")
        now = ", ".join(f"{_(name)} {count:,}" for name, count in dataset.splits.items())
        title = escape(_("Divide {name} into splits", name=dataset.reference))
        facts = escape(_("Now: {splits}", splits=now))
        self.title.value = balance.styled(f'<h3>{title}</h3><p class="arm-data-facts">{facts}</p>')
        inputs = {name: feature for name, feature in dataset.features.items() if name != dataset.target}
        self._columns = {
            "group": [name for name, feature in inputs.items() if isinstance(feature, (Value, ClassLabel))],
            "time": [name for name, feature in inputs.items() if _is_value(feature, _TIMES)],
            "column": [name for name, feature in inputs.items() if _names_splits(feature)],
        }
        at_random = _("at random, classes alike") if dataset.target is not None else _("at random")
        ways = {
            "random": at_random,
            "group": _("by group: equal values stay together"),
            "time": _("by time: the earliest train, the latest test"),
            "column": _("as a column says"),
        }
        self._quiet = True
        try:
            before = self.way.value
            self.way.options = [(text, way) for way, text in ways.items() if way == "random" or self._columns[way]]
            self.way.value = before if before in [way for _text, way in self.way.options] else "random"
        finally:
            self._quiet = False
        self._show_way()

    def _show_way(self) -> None:
        """Show the fields of the way that is chosen."""
        way = self.way.value
        if self._quiet or way is None:
            return
        self.work.say("")
        if way == "group" and self.groups.options != tuple(self._columns["group"]):
            self.groups.options = tuple(self._columns["group"])
            self.groups.value = self.groups.options[:1]
        if way in ("time", "column") and self.column.options != tuple(self._columns[way]):
            self.column.options = tuple(self._columns[way])
            self.column.value = _likeliest(self._columns[way], way)
        shown = {
            self.groups: way == "group",
            self.column: way in ("time", "column"),
            self._shares: way != "column",
            self.seed: way != "time",
        }
        for control, is_shown in shown.items():
            control.layout.display = None if is_shown else "none"

    def _start(self) -> None:
        if self._dataset is not None:
            dataset, told = self._dataset, self._told()
            self.work.begin(lambda progress: self._divide(dataset, told, progress))

    def _told(self) -> dict[str, Any]:
        """Return what `Dataset.split` is told."""
        way = self.way.value
        told: dict[str, Any] = {"duplicates": self.duplicates.value}
        if way != "column":
            told |= {split: share.value / 100 for split, share in self.shares.items()}
        if way in ("random", "group"):
            told["seed"] = self.seed.value
        if way == "group":
            told["group"] = list(self.groups.value)
        elif way in ("time", "column"):
            told[way] = self.column.value
        return told

    def _divide(self, dataset: Dataset, told: Mapping[str, Any], progress: Progress) -> None:
        if told.get("group") == []:
            raise DatasetError(_("No column is chosen."), _("Choose at least one."))
        divided = dataset.split(**told, progress=progress)
        self.work.say(_("{reference} is saved.", reference=divided.reference), kind="done")
        self._saved(dataset, divided)


def _is_value(feature: Feature, kinds: tuple[str, ...]) -> bool:
    return isinstance(feature, Value) and feature.dtype.startswith(kinds)


def _names_splits(feature: Feature) -> bool:
    return isinstance(feature, ClassLabel) or _is_value(feature, _TEXTS)


def _likeliest(columns: list[str], way: str) -> str:
    """Return the column whose name says that it has times, or splits; else the first."""
    words = ("time", "date", "day", "year") if way == "time" else ("split", "fold", "part", "set")
    return next((name for name in columns if any(word in name.lower() for word in words)), columns[0])
