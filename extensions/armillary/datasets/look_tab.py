"""The tab that shows a saved version: what it is, its class balance, its examples; or the preview of files."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.browse.examples_view import ExamplesView
from armillary.datasets.dataset import Dataset

_ = translator(__file__)


class LookTab(widgets.VBox):
    """Shows one version of a dataset."""

    def __init__(self) -> None:
        self.summary = widgets.HTML()
        self.examples = ExamplesView()
        super().__init__((self.summary, self.examples))

    def show_dataset(self, dataset: Dataset) -> None:
        """Show a version."""
        self.summary.value = balance.styled(_described(dataset))
        self.examples.show(dataset)


def _described(dataset: Dataset) -> str:
    spec = dataset.manifest.input
    facts = _(
        "{n} examples of {shape}; saved {time} by {author}",
        n=f"{len(dataset):,}",
        shape=" × ".join(map(str, spec.shape)) if spec else dataset.kind,
        time=dataset.manifest.created[:16].replace("T", " "),
        author=dataset.manifest.author,
    )
    counts = {split: list(numbers) for split, numbers in dataset.manifest.class_counts.items()}
    head = f'<h3>{escape(dataset.reference)}</h3><p class="arm-data-facts">{escape(facts)}</p>'
    return head + _noticed(dataset.report) + (balance.balance(dataset.class_names, counts) if counts else "")


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
