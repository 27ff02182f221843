"""Histograms as small pictures that are read aloud as tables."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from armillary_kernels.texts import translator

from armillary.datasets.browse.histograms import Histogram

_ = translator(__file__)

_WIDTH, _HEIGHT = 260, 90
#: Classes that are drawn; the rest are in the class balance.
_CLASSES = 40


def _measures() -> dict[str, str]:
    return {
        "value": _("value"),
        "characters": _("characters"),
        "pixels": _("pixels of the longer side"),
        "seconds": _("seconds"),
        "boxes": _("boxes in an image"),
        "items": _("items in a list"),
        "class": _("labels"),
    }


def chart(histogram: Histogram) -> str:
    """Return a histogram as an HTML figure."""
    title = f"{histogram.column}: {_measures()[histogram.measure]}"
    if not sum(histogram.counts):
        body = f"<p>{escape(_('There are no values.'))}</p>"
    else:
        labels = _labels(histogram)
        body = _bars(histogram, labels) + _table(title, histogram, labels)
    return (
        f'<figure class="arm-chart"><figcaption>{escape(title)}</figcaption>{body}'
        f"<p>{escape(_notes(histogram))}</p></figure>"
    )


def _labels(histogram: Histogram) -> list[str]:
    if histogram.names:
        return list(histogram.names[:_CLASSES])
    edges = histogram.edges
    if len(edges) > 1 and edges[0] % 1 == 0.5 and edges[1] - edges[0] == 1:  # a bin for each whole number
        return [_number(edge + 0.5) for edge in edges[:-1]]
    if len(edges) == 2:
        return [_number(edges[0] / 2 + edges[1] / 2)]
    return [f"{_number(low)} – {_number(high)}" for low, high in pairwise(edges)]


def _number(value: float) -> str:
    """Return a number in few digits; a year has no comma."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"


def _bars(histogram: Histogram, labels: list[str]) -> str:
    counts = histogram.counts[: len(labels)]
    most, width = max(counts) or 1, _WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{index * width:.1f}" y="{_HEIGHT - height:.1f}" width="{max(1.0, width - 1):.1f}" '
        f'height="{height:.1f}"><title>{escape(label)}: {count:,}</title></rect>'
        for index, (label, count) in enumerate(zip(labels, counts, strict=True))
        for height in [_height(count, most)]
    )
    ends = (labels[0].split(" – ")[0], labels[-1].split(" – ")[-1]) if len(labels) > 1 else (labels[0], "")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true" focusable="false">{bars}</svg>'
        f'<div class="arm-chart-ends" aria-hidden="true"><span>{escape(ends[0])}</span>'
        f"<span>{escape(ends[1])}</span></div>"
    )


def _height(count: int, most: int) -> float:
    """Return a bar's height; what is there can be seen."""
    return max(1.5, _HEIGHT * count / most) if count else 0.0


def _table(title: str, histogram: Histogram, labels: list[str]) -> str:
    """Return what the bars say, for those who hear it."""
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{count:,}</td></tr>'
        for label, count in zip(labels, histogram.counts, strict=False)
    )
    return f'<table class="arm-chart-spoken"><caption>{escape(title)}</caption>{rows}</table>'


def _notes(histogram: Histogram) -> str:
    notes = []
    if histogram.looked_at < histogram.examples:
        notes.append(_("from {n} of {total} examples", n=f"{histogram.looked_at:,}", total=f"{histogram.examples:,}"))
    if histogram.missing:
        notes.append(_("{n} missing", n=f"{histogram.missing:,}"))
    if len(histogram.names) > _CLASSES:
        notes.append(_("the first {n} of {total} classes", n=_CLASSES, total=len(histogram.names)))
    return "; ".join(notes)
