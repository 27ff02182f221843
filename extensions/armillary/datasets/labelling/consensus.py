"""What the majority says, row by row; where there is none, somebody has to decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.datasets.labelling.agreement import boxes_of, iou
from armillary.datasets.labelling.tasks import Kind

#: Boxes of two people that overlap as much as this are of the same object.
SAME_OBJECT = 0.5


@dataclass(frozen=True)
class Consensus:
    """What people say together.

    Attributes
    ----------
    answers
        The answer of each row that has one: what most said, or what was decided where they were divided.
    ties
        Rows on which people are divided evenly, each with everybody's answer.
    unfinished
        Rows that too few people have answered.
    """

    answers: Mapping[int, Any]
    ties: Mapping[int, Mapping[str, Any]]
    unfinished: tuple[int, ...]


def majority(kind: Kind, given: Sequence[Any]) -> tuple[Any, bool]:
    """Return what most say of one row, and whether it is a tie.

    Classes: the one named most. Boxes and spans: those that more than half marked; one that exactly half did is a tie.
    """
    if len(given) == 1:
        return given[0], False
    if kind == "classes":
        return _most(Counter(given))
    return _boxes(given) if kind == "boxes" else _spans(given)


def _most(counts: Counter[Any]) -> tuple[Any, bool]:
    ranked = counts.most_common(2)
    return ranked[0][0], len(ranked) > 1 and ranked[0][1] == ranked[1][1]


def _spans(given: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[list[dict[str, Any]], bool]:
    counts = Counter((p["start"], p["end"], p["label"]) for parts in given for p in parts)
    kept = sorted(span for span, count in counts.items() if 2 * count > len(given))
    tie = any(2 * count == len(given) for count in counts.values())
    return [{"label": label, "start": start, "end": end} for start, end, label in kept], tie


def _boxes(given: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[list[dict[str, Any]], bool]:
    """Group the boxes of one object, of each person one at most; the group's box is the mean."""
    groups: list[dict[int, Mapping[str, Any]]] = []
    for person, parts in enumerate(given):
        for part in parts:
            fitting = [group for group in groups if person not in group and _overlap(group, part) >= SAME_OBJECT]
            if fitting:
                max(fitting, key=lambda group: _overlap(group, part))[person] = part
            else:
                groups.append({person: part})
    kept, tie = [], False
    for group in groups:
        label, divided = _most(Counter(part["label"] for part in group.values()))
        tie |= 2 * len(group) == len(given) or (divided and 2 * len(group) > len(given))
        if 2 * len(group) > len(given):
            mean = boxes_of(list(group.values())).mean(axis=0)
            kept.append({"label": label, "box": [round(float(side), 2) for side in mean]})
    return kept, tie


def _overlap(group: Mapping[int, Mapping[str, Any]], part: Mapping[str, Any]) -> float:
    return float(np.mean(iou(boxes_of(list(group.values())), boxes_of([part]))))
