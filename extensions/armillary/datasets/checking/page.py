"""A report as HTML that needs no kernel: what was found by kind, the worst of each with its examples, the notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.checking.findings import Finding, meaning, title
from armillary.datasets.checking.showing import Showing

if TYPE_CHECKING:
    from armillary.datasets.checking.report import CheckReport

_ = translator(__file__)

STYLE = (Path(__file__).parent / "static" / "check.css").read_text(encoding="utf-8")
WORST = 6
_OPEN = 3
_PAIRS = 8


def page(report: CheckReport, worst: int = WORST) -> str:
    """Return everything: figures, bars by kind, then the ``worst`` findings of each kind."""
    by_kind = {kind: report.findings(kind) for kind in report.kinds}
    shown = {kind: findings[:worst] for kind, findings in by_kind.items() if findings}
    showing = Showing(report.dataset, [finding for findings in shown.values() for finding in findings])
    sections = [
        _section(report, kind, findings, showing, is_open=number < _OPEN)
        for number, (kind, findings) in enumerate(shown.items())
    ]
    return styled(f"{summary(report)}{''.join(sections)}{notes(report.notes)}")


def styled(body: str) -> str:
    """Return ``body`` with the style that goes with it."""
    return f'<style>{STYLE}</style><div class="arm-check">{body}</div>'


def summary(report: CheckReport) -> str:
    """Return the figures of the check, and how much of each kind was found."""
    touched = {row for finding in report.found for row in finding.rows}
    pairs = (
        (_("Examples"), f"{len(report.dataset):,}"),
        (_("Findings"), f"{sum(report.totals.values()):,}"),
        (_("Examples concerned"), f"{len(touched):,}"),
    )
    items = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in pairs)
    head = f"<h3>{escape(_('Check of {dataset}', dataset=report.dataset.reference))}</h3>"
    return f'{head}<dl class="arm-check-figures">{items}</dl>{_by_kind(report)}'


def _by_kind(report: CheckReport) -> str:
    found = {title(kind): report.totals[kind] for kind in report.kinds if report.totals.get(kind)}
    clean = ", ".join(title(kind) for kind in report.kinds if not report.totals.get(kind))
    bars = _bars(_("What was found"), _("Kind"), found) if found else f"<p>{escape(_('Nothing was found.'))}</p>"
    return bars + (f"<p>{escape(_('Looked for and not found: {kinds}.', kinds=clean))}</p>" if clean else "")


def _bars(caption: str, first: str, counts: dict[str, int]) -> str:
    """Return numbers as a table of bars."""
    largest = max(counts.values())
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="arm-check-bar" aria-hidden="true">'
        f'<span style="width:{100 * count / largest:.1f}%"></span></td><td>{count:,}</td></tr>'
        for name, count in counts.items()
    )
    head = f'<th scope="col">{escape(first)}</th><td aria-hidden="true"></td><th scope="col">{escape(_("Number"))}</th>'
    return (
        f'<div class="arm-check-scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _section(report: CheckReport, kind: str, findings: Sequence[Finding], showing: Showing, *, is_open: bool) -> str:
    total = report.totals[kind]
    cards = "".join(f'<li class="arm-check-card">{showing.card(finding)}</li>' for finding in findings)
    more = _("{shown} of {n} are shown; findings({kind!r}) has more.", shown=len(findings), n=f"{total:,}", kind=kind)
    rest = f"<p>{escape(more)}</p>" if total > len(findings) else ""
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(title(kind))} ({total:,})</summary>"
        f"<p>{escape(meaning(kind))}</p>{_plot(report, kind)}<ul>{cards}</ul>{rest}</details>"
    )


def _plot(report: CheckReport, kind: str) -> str:
    """Return what is better seen than read: the class balance, and which classes are taken for which."""
    if kind == "imbalance":
        counts = {split: list(numbers) for split, numbers in report.dataset.manifest.class_counts.items()}
        return balance.styled(balance.balance(report.dataset.class_names, counts))
    if kind == "label_error" and len(report.findings(kind)) > 1:
        return _bars(_("Which class for which"), _("given → likely"), _mixed_up(report))
    return ""


def _mixed_up(report: CheckReport) -> dict[str, int]:
    labels, names = report.dataset.labels(None), report.dataset.class_names
    pairs = Counter(
        f"{names[labels[finding.rows[0]]]} → {finding.suggestions[0].value}"
        for finding in report.findings("label_error")
    )
    return dict(pairs.most_common(_PAIRS))


def notes(lines: Sequence[str]) -> str:
    """Return what else is to be known."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<h4>{escape(_("Notes"))}</h4><ul class="arm-check-notes">{items}</ul>' if lines else ""
