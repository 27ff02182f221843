"""How a labelling project stands: who has done how much, how far people agree, and what to do about it."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.labelling.agreement import Agreement
from armillary.datasets.labelling.project import Project

_ = translator(__file__)


def project_html(project: Project) -> str:
    """Return the state of a project as a table and a few sentences."""
    agreed, consensus = project.agreement(), project.consensus()
    facts = [
        str(agreed),
        _("consensus on {n:,} of {total:,} examples", n=len(consensus.answers), total=len(project.rows)),
        _("divided on {n:,}", n=len(consensus.ties)),
    ]
    return f"{_progress(project)}<p>{escape(' · '.join(facts))}</p>{_pairs(agreed)}"


def _progress(project: Project) -> str:
    head = [_("Person"), _("Done"), _("of"), _("Skipped"), _("Seconds each")]
    lines = [
        [line.person, f"{line.done:,}", _whole(line.assigned), f"{line.skipped:,}", _seconds(line.seconds)]
        for line in project.progress().itertuples()
    ]
    return _table(_("Who has done how much"), head, lines)


def _pairs(agreed: Agreement) -> str:
    if len(agreed.pairs) < 2:
        return ""
    head = [_("Person"), _("and"), _("Agreement"), _("Examples")]
    lines = [[line.person, line.other, f"{line.value:.2f}", f"{line.rows:,}"] for line in agreed.pairs.itertuples()]
    return _table(_("How far each two agree"), head, lines)


def _whole(number: Any) -> str:
    return "" if number is None or math.isnan(number) else f"{int(number):,}"


def _seconds(number: Any) -> str:
    return "" if number is None or math.isnan(number) else f"{number:.1f}"


def _table(caption: str, head: list[str], lines: list[list[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    rows = "".join(
        f'<tr><th scope="row">{escape(line[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in lines
    )
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
