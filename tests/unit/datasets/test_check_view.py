"""The view of a report: what a person accepts there is plain data."""

import numpy as np
import pytest
from armillary import datasets
from armillary.datasets.checking.findings import Suggestion


@pytest.fixture
def report(store, few_digits):
    """A check of digits of which thirty stand twice and one has two classes."""
    x, y = few_digits
    pictures, labels = np.concatenate([x, x[:30], x[40:41]]), np.concatenate([y, y[:30], [(y[40] + 1) % 10]])
    ds = datasets.import_arrays(pictures, labels, name="digits", split=None)
    return datasets.check(ds, kinds=["duplicate", "blank"])


def test_findings_are_shown_by_kind_and_page_with_their_examples(report):
    view = report.view()
    assert [kind["title"] for kind in view.kinds] == ["Duplicates (31)"]
    assert (len(view.cards), view.pages) == (24, 2)
    assert view.cards[0]["action"] == "Remove row 120"
    assert view.cards[0]["html"].count("<img src=") == 2
    view.shown_page = 1
    assert len(view.cards) == 7


def test_what_is_accepted_becomes_suggestions(report):
    view = report.view()
    assert view.suggestions == []
    view.accepted = [view.cards[2]["number"], view.cards[0]["number"]]  # as the browser sends it
    assert view.suggestions == [Suggestion(120, "remove"), Suggestion(122, "remove")]
    view.reject(report.findings("duplicate")[0])
    assert view.suggestions == [Suggestion(122, "remove")]
    view._receive(view, {"all": "accept"}, [])
    assert view.suggestions == [Suggestion(row, "remove") for row in range(120, 150)]
    view._receive(view, {"all": "reject"}, [])
    assert view.suggestions == []


def test_a_finding_that_a_person_must_decide_suggests_nothing(report):
    view = report.view()
    undecided = next(finding for finding in report.findings() if finding.rows == (40, 150))
    assert "different classes" in undecided.explanation
    view.accept([undecided])
    assert view.accepted == []


def test_numbers_from_a_browser_that_are_none_are_passed_over(report):
    view = report.view()
    view.accepted = [-1, 0, 0, 10_000]
    assert len(view.suggestions) == 1


def test_without_a_kernel_the_page_is_shown(report):
    bundle = report.view()._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "Check of digits@1" in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_report_without_findings(store, few_digits):
    ds = datasets.import_arrays(*few_digits, name="good", split=None)
    view = datasets.check(ds, kinds=["blank"]).view()
    assert (view.kinds, view.cards, view.suggestions) == ([], [], [])
    assert "Nothing was found." in view.head
