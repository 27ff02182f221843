"""An evaluation as HTML that needs no kernel: plots made of tables, so that screen readers read what eyes see."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from armillary_kernels.texts import translator

from armillary.evaluation.result import Evaluation, Mistake

_ = translator(__file__)

STYLE = (Path(__file__).parent / "static" / "evaluation.css").read_text(encoding="utf-8")
MAX_MATRIX = 20


def page(evaluation: Evaluation, mistakes: int = 12) -> str:
    """Return everything: figures, confusion matrix, scores per class and the worst mistakes."""
    parts = (
        figures(evaluation),
        '<div class="arm-eval-plots">',
        confusion_plot(evaluation),
        class_plot(evaluation),
        "</div>",
        mistakes_section(evaluation, evaluation.mistakes(mistakes)),
    )
    return styled("".join(parts))


def styled(body: str) -> str:
    """Return ``body`` with the style that goes with it."""
    return f'<style>{STYLE}</style><div class="arm-eval">{body}</div>'


def figures(evaluation: Evaluation) -> str:
    """Return the figures of the whole split as a list of terms."""
    summary = evaluation.summary()
    wrong = int((evaluation.predictions != evaluation.labels).sum())
    pairs = (
        (_("Accuracy"), percent(summary["accuracy"])),
        (_("Precision (mean)"), percent(summary["macro_precision"])),
        (_("Recall (mean)"), percent(summary["macro_recall"])),
        (_("F1 (mean)"), percent(summary["macro_f1"])),
        (_("Mistakes"), _("{wrong} of {n}", wrong=f"{wrong:,}", n=f"{len(evaluation):,}")),
    )
    items = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in pairs)
    title = _(
        "{model} on {dataset}, {split}",
        model=evaluation.model_name,
        dataset=evaluation.dataset.reference,
        split=evaluation.split,
    )
    return f'<h3>{escape(title)}</h3><dl class="arm-eval-figures">{items}</dl>'


def confusion_plot(evaluation: Evaluation) -> str:
    """Return the confusion matrix as a table whose cells are shaded by their share of the row."""
    chosen, note = _shown_classes(evaluation)
    counts = evaluation.confusion
    totals = counts.sum(axis=1)
    names = [escape(evaluation.class_names[index]) for index in chosen]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    lines = []
    for index, name in zip(chosen, names, strict=True):
        cells = "".join(_cell(int(counts[index, other]), int(totals[index]), index == other) for other in chosen)
        lines.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    caption = _("Confusion matrix: each row is a true class, each column what the model said.")
    corner = f'<td class="arm-eval-corner">{escape(_("true ↓ · predicted →"))}</td>'
    return (
        f'<div class="arm-eval-scroll"><table class="arm-eval-matrix"><caption>{escape(caption)}{note}</caption>'
        f"<thead><tr>{corner}{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _shown_classes(evaluation: Evaluation) -> tuple[list[int], str]:
    """Return the classes to show and a note; of many classes those with the most mistakes."""
    classes = len(evaluation.class_names)
    if classes <= MAX_MATRIX:
        return list(range(classes)), ""
    wrong = evaluation.confusion - np.diag(np.diag(evaluation.confusion))
    worst = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MAX_MATRIX]
    note = _("Shown: the {n} classes of {all} with the most mistakes.", n=MAX_MATRIX, all=classes)
    return sorted(int(index) for index in worst), f" {escape(note)}"


def _cell(count: int, total: int, right: bool) -> str:
    share = count / total if total else 0.0
    # The square root keeps a single mistake among hundreds visible.
    strength = 0 if not count else 12 + 58 * (share if right else math.sqrt(share))
    kind = "right" if right else "wrong"
    shade = f'style="--arm-strength:{strength:.0f}%"' if count else ""
    return f'<td class="arm-eval-{kind}" {shade}>{count or "·"}</td>'


def class_plot(evaluation: Evaluation) -> str:
    """Return precision, recall and F1 of each class as a table of bars."""
    columns = {"precision": _("Precision"), "recall": _("Recall"), "f1": "F1"}
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in columns.values())
    lines = []
    for name, scores in evaluation.report.iterrows():
        bars = "".join(_bar(float(scores[column])) for column in columns)
        lines.append(f'<tr><th scope="row">{escape(str(name))}</th>{bars}<td>{int(scores["support"]):,}</td></tr>')
    caption = escape(_("Scores of each class"))
    return (
        f'<div class="arm-eval-scroll"><table class="arm-eval-bars"><caption>{caption}</caption>'
        f'<thead><tr><th scope="col">{escape(_("Class"))}</th>{head}<th scope="col">{escape(_("Examples"))}</th></tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _bar(score: float) -> str:
    return f'<td class="arm-eval-bar"><span style="--arm-score:{100 * score:.1f}%">{percent(score)}</span></td>'


def mistakes_section(evaluation: Evaluation, mistakes: Sequence[Mistake]) -> str:
    """Return the worst mistakes: thumbnails of images, rows of tables."""
    title = f"<h4>{escape(_('Worst mistakes'))}</h4>"
    if not mistakes:
        return f"{title}<p>{escape(_('No mistakes here.'))}</p>"
    if evaluation.dataset.input_spec.kind == "image":
        return title + _thumbnails(evaluation, mistakes)
    return title + _mistaken_rows(evaluation, mistakes)


def _thumbnails(evaluation: Evaluation, mistakes: Sequence[Mistake]) -> str:
    files = evaluation.dataset.encoded_images([mistake.row for mistake in mistakes])
    items = "".join(_thumbnail(mistake, data) for mistake, data in zip(mistakes, files, strict=True))
    return f'<ul class="arm-eval-mistakes">{items}</ul>'


def _thumbnail(mistake: Mistake, data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    alt = _("Example {row} of class {true}", row=mistake.row, true=mistake.true)
    true = _("true: {name}", name=mistake.true)
    said = _("said: {name}, {share}", name=mistake.predicted, share=percent(mistake.confidence))
    return (
        f'<li><figure><img src="{source}" alt="{escape(alt)}"><figcaption>'
        f"<span>{escape(true)}</span><strong>{escape(said)}</strong></figcaption></figure></li>"
    )


def _mistaken_rows(evaluation: Evaluation, mistakes: Sequence[Mistake]) -> str:
    frame = evaluation.dataset.to_pandas().iloc[[mistake.row for mistake in mistakes]]
    frame = frame.drop(columns=evaluation.dataset.target).iloc[:, :12]
    titles = [_("Row"), _("True class"), _("The model said"), _("Confidence"), *map(str, frame.columns)]
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    lines = []
    for mistake, values in zip(mistakes, frame.itertuples(index=False), strict=True):
        cells = [mistake.true, mistake.predicted, percent(mistake.confidence), *map(_value, values)]
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{mistake.row}</th>{row}</tr>')
    return (
        f'<div class="arm-eval-scroll"><table class="arm-eval-rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(share: float) -> str:
    """Return a share as per cent; 100 % only when nothing is missing."""
    digits = 1
    shown = round(100 * share, digits)
    if shown == 100 and share < 1:
        return ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"
    return f"{shown:.{digits}f}\N{NO-BREAK SPACE}%"
