"""A report to go through in a notebook: kind by kind, each finding with its examples, its suggestion to be accepted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from armillary_kernels.texts import translator

from armillary.datasets.checking.findings import Finding, Suggestion, meaning, merged, title
from armillary.datasets.checking.page import notes, page, summary
from armillary.datasets.checking.report import CheckReport
from armillary.datasets.checking.showing import Showing

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"
PAGE = 24


def _texts() -> dict[str, str]:
    return {
        "kind": _("Kind of finding"),
        "previous": _("Previous page"),
        "next": _("Next page"),
        "page": _("Page {page} of {pages}"),
        "all": _("Accept all of this kind"),
        "none": _("Accept none of this kind"),
        "accepted": _("{n} suggestions accepted"),
        "decide": _("You decide: there is no suggestion."),
        "nothing": _("Nothing was found."),
    }


class CheckView(anywidget.AnyWidget):
    """Shows a report; what a person accepts is in `suggestions`, and nothing is changed by that.

    Where no kernel answers (nbconvert, a shared notebook) the report's page is shown instead.

    Attributes
    ----------
    accepted
        The numbers of the accepted findings in ``report.found``; observe it to follow them.
    kind, shown_page
        Which kind is shown, and which page of its findings.

    Examples
    --------
    >>> view = datasets.check("digits@1").view()
    >>> view.accept(view.report.findings("duplicate"))
    >>> view.suggestions
    [Suggestion(row=812, action='remove', value=None)]
    """

    _esm = _STATIC / "check_view.js"
    _css = _STATIC / "check.css"

    texts = traitlets.Dict().tag(sync=True)
    head = traitlets.Unicode().tag(sync=True)
    notes = traitlets.Unicode().tag(sync=True)
    kinds = traitlets.List(traitlets.Dict()).tag(sync=True)
    kind = traitlets.Unicode("").tag(sync=True)
    cards = traitlets.List(traitlets.Dict()).tag(sync=True)
    shown_page = traitlets.Int(0).tag(sync=True)
    pages = traitlets.Int(1).tag(sync=True)
    accepted = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, report: CheckReport) -> None:
        self.report = report
        kinds = [
            {"name": kind, "title": f"{title(kind)} ({report.totals[kind]:,})", "meaning": meaning(kind)}
            for kind in report.kinds
            if report.findings(kind)
        ]
        super().__init__(
            texts=_texts(),
            head=summary(report),
            notes=notes(report.notes),
            kinds=kinds,
            kind=kinds[0]["name"] if kinds else "",
        )
        self._show()
        self.observe(self._turn, ["kind", "shown_page"])
        self.on_msg(self._receive)

    @property
    def suggestions(self) -> list[Suggestion]:
        """The accepted suggestions, one for each row: removing an example goes before relabelling it."""
        found = self.report.found
        chosen = [found[number] for number in sorted(set(self.accepted)) if 0 <= number < len(found)]
        return merged(suggestion for finding in chosen for suggestion in finding.suggestions)

    def accept(self, findings: Finding | list[Finding]) -> None:
        """Accept what these findings suggest, beside what is accepted already."""
        self.accepted = sorted({*self.accepted, *self._numbers(findings)})

    def reject(self, findings: Finding | list[Finding]) -> None:
        """Accept no longer what these findings suggest."""
        self.accepted = sorted({*self.accepted} - {*self._numbers(findings)})

    def _numbers(self, findings: Finding | list[Finding]) -> list[int]:
        wanted = [findings] if isinstance(findings, Finding) else findings
        number = {id(finding): index for index, finding in enumerate(self.report.found)}
        return [number[id(finding)] for finding in wanted if finding.suggestions]

    def _turn(self, change: Any) -> None:
        if change["name"] == "kind" and self.shown_page:
            self.shown_page = 0  # which shows it
            return
        self._show()

    def _show(self) -> None:
        if not self.kind:
            return
        findings = self.report.findings(self.kind)
        number = {id(finding): index for index, finding in enumerate(self.report.found)}
        here = findings[self.shown_page * PAGE : (self.shown_page + 1) * PAGE]
        showing = Showing(self.report.dataset, here)
        with self.hold_sync():
            self.pages = max(1, math.ceil(len(findings) / PAGE))
            self.cards = [
                {"number": number[id(finding)], "html": showing.card(finding), "action": suggested(finding)}
                for finding in here
            ]

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        act = {"accept": self.accept, "reject": self.reject}.get(str(content.get("all")))
        if act is not None and self.kind:
            act(self.report.findings(self.kind))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if isinstance(bundle, tuple):
            return {**bundle[0], "text/html": page(self.report)}, bundle[1]
        return {**(bundle or {}), "text/html": page(self.report)}


def suggested(finding: Finding) -> str:
    """Return what accepting a finding does, in a few words; empty where it suggests nothing."""
    if not finding.suggestions:
        return ""
    first, n = finding.suggestions[0], len(finding.suggestions)
    if first.action == "relabel":
        return _("Relabel row {row} to “{value}”", row=first.row, value=first.value)
    if n == 1:
        return _("Remove row {row}", row=first.row)
    return _("Remove {n} examples", n=f"{n:,}")
