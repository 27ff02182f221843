"""How far people agree, beyond what chance would give for classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.labelling.tasks import Kind

_ = translator(__file__)

#: Per person, the answers by row.
Answers = Mapping[str, Mapping[int, Any]]


@dataclass(frozen=True)
class Agreement:
    """How far people agree on one task.

    Attributes
    ----------
    measure
        ``"alpha"``: Krippendorff's alpha of all people, of pairs Cohen's kappa; 1 is perfect, 0 is chance.
        ``"iou"``: mean intersection over union of the boxes of two people, one without a counterpart counting 0.
        ``"f1"``: F1 of spans that are exactly the same.
    value
        Of all people together; NaN when no row was answered twice.
    pairs
        A line for each two people: ``value`` and ``rows``, the number both answered.
    rows
        How many rows at least two people answered.
    """

    measure: str
    value: float
    pairs: pd.DataFrame
    rows: int

    def __str__(self) -> str:
        if not self.rows:
            return _("No example was labelled twice yet.")
        names = {"alpha": _("Krippendorff's alpha"), "iou": _("mean IoU"), "f1": _("span F1")}
        return _(
            "{measure} {value:.2f} over {n:,} examples", measure=names[self.measure], value=self.value, n=self.rows
        )


def agreement(kind: Kind, answers: Answers) -> Agreement:
    """Return how far people agree."""
    measures = {"classes": "alpha", "boxes": "iou", "spans": "f1"}
    pairs = []
    for one, other in combinations(sorted(answers), 2):
        shared = sorted(answers[one].keys() & answers[other].keys())
        if shared:
            both = [answers[one][row] for row in shared], [answers[other][row] for row in shared]
            pairs.append((one, other, _of_pair(kind, *both), len(shared)))
    frame = pd.DataFrame(pairs, columns=["person", "other", "value", "rows"])
    times = Counter(row for given in answers.values() for row in given)
    rows = sum(count > 1 for count in times.values())
    return Agreement(measures[kind], _of_all(kind, answers, frame), frame, rows)


def _of_all(kind: Kind, answers: Answers, pairs: pd.DataFrame) -> float:
    if kind == "classes":
        return krippendorff_alpha(list(answers.values()))
    if kind == "boxes":
        return float(np.average(pairs["value"], weights=pairs["rows"])) if len(pairs) else float("nan")
    shared = [
        (answers[one][row], answers[other][row])
        for one, other in combinations(sorted(answers), 2)
        for row in answers[one].keys() & answers[other].keys()
    ]
    return span_f1([one for one, _other in shared], [other for _one, other in shared]) if shared else float("nan")


def _of_pair(kind: Kind, one: Sequence[Any], other: Sequence[Any]) -> float:
    if kind == "boxes":
        return float(np.mean([mean_iou(a, b) for a, b in zip(one, other, strict=True)]))
    return span_f1(one, other) if kind == "spans" else cohen_kappa(one, other)


def cohen_kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Return Cohen's kappa of two people's classes; 1 where both gave one and the same class throughout."""
    from sklearn.metrics import cohen_kappa_score

    if set(one) == set(other) and len(set(one)) == 1:
        return 1.0  # where chance agrees as well, kappa itself is 0/0
    return float(cohen_kappa_score(list(one), list(other)))


def krippendorff_alpha(raters: Sequence[Mapping[int, str]]) -> float:
    """Return Krippendorff's alpha of classes; rows may be answered by any number of people.

    Our own, for the maintained library is under the GPL. K. Krippendorff, "Computing Krippendorff's Alpha-Reliability"
    (2011), section C: nominal data, any number of observers, missing data.
    """
    rows: dict[int, Counter[str]] = {}
    for given in raters:
        for row, label in given.items():
            rows.setdefault(row, Counter())[label] += 1
    units = [counts for counts in rows.values() if counts.total() > 1]
    if not units:
        return float("nan")
    totals: Counter[str] = sum(units, Counter())
    n = totals.total()
    observed = sum((u.total() ** 2 - sum(c * c for c in u.values())) / (u.total() - 1) for u in units) / n
    expected = (n * n - sum(c * c for c in totals.values())) / (n * (n - 1))
    return 1.0 if expected == 0 else float(1 - observed / expected)


def iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of boxes ``(n, 4)`` and ``(m, 4)`` (x, y, width, height) as ``(n, m)``."""
    start = np.maximum(one[:, None, :2], other[None, :, :2])
    end = np.minimum(one[:, None, :2] + one[:, None, 2:], other[None, :, :2] + other[None, :, 2:])
    shared = np.prod(np.clip(end - start, 0, None), axis=2)
    areas = np.prod(one[:, 2:], axis=1)[:, None] + np.prod(other[:, 2:], axis=1)[None]
    return shared / (areas - shared)


def boxes_of(parts: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return the boxes of an answer, ``(n, 4)``."""
    return np.array([part["box"] for part in parts], np.float64).reshape(-1, 4)


def mean_iou(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean IoU of the best one-to-one matching of two answers; 1 for two without a box.

    Boxes of different classes, and those without a counterpart, count 0.
    """
    from scipy.optimize import linear_sum_assignment

    if not one or not other:
        return float(not one and not other)
    overlaps = iou(boxes_of(one), boxes_of(other))
    same = np.array([[a["label"] == b["label"] for b in other] for a in one])
    overlaps = np.where(same, overlaps, 0)
    matched = linear_sum_assignment(overlaps, maximize=True)
    return float(overlaps[matched].sum() / max(len(one), len(other)))


def span_f1(one: Sequence[Sequence[Mapping[str, Any]]], other: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Return the F1 of spans with the same borders and label, over all texts; 1 where neither marked any."""
    first, second = _spans(one), _spans(other)
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0


def _spans(answers: Sequence[Sequence[Mapping[str, Any]]]) -> set[tuple[int, int, int, str]]:
    return {(row, p["start"], p["end"], p["label"]) for row, parts in enumerate(answers) for p in parts}
