"""What a check finds: plain data, and the names of the kinds of findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from armillary_kernels.texts import translator

_ = translator(__file__)

#: All kinds of findings, those first that make a result wrong rather than worse.
KINDS = (
    "leak",
    "target_leak",
    "broken",
    "missing",
    "label_error",
    "duplicate",
    "near_duplicate",
    "outlier",
    "blank",
    "clipped",
    "dark",
    "bright",
    "blurry",
    "odd_aspect",
    "language",
    "imbalance",
)
Action = Literal["relabel", "remove"]


@dataclass(frozen=True)
class Suggestion:
    """One change to one example: ``"relabel"`` it to the class ``value``, or ``"remove"`` it.

    ``row`` is its number in the version, as `Dataset.take` and `Dataset.to_pandas` count.
    """

    row: int
    action: Action
    value: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    kind
        One of `KINDS`.
    rows
        The examples it is about, as numbered in the version; none where it is about the dataset as a whole.
    score
        How sure or how serious it is, from 0 to 1.
    explanation
        What was found, in a person's words.
    advice
        What to do about it, in a person's words.
    suggestions
        The advice as changes that can be applied; none where a person has to decide.
    column
        The column it is about, None for the whole example.
    """

    kind: str
    rows: tuple[int, ...]
    score: float
    explanation: str
    advice: str = ""
    suggestions: tuple[Suggestion, ...] = ()
    column: str | None = None


def removal(rows: Iterable[int]) -> tuple[Suggestion, ...]:
    """Return the suggestion to remove these examples."""
    return tuple(Suggestion(int(row), "remove") for row in rows)


def merged(suggestions: Iterable[Suggestion]) -> list[Suggestion]:
    """Return one suggestion for each row, by row: removing goes before relabelling, an earlier one before a later."""
    chosen: dict[int, Suggestion] = {}
    for suggestion in suggestions:
        known = chosen.get(suggestion.row)
        if known is None or (suggestion.action == "remove" and known.action != "remove"):
            chosen[suggestion.row] = suggestion
    return [chosen[row] for row in sorted(chosen)]


def title(kind: str) -> str:
    """Return the name of a kind as a person reads it."""
    return {
        "leak": _("In several splits"),
        "target_leak": _("Tells the class"),
        "broken": _("Broken"),
        "missing": _("Missing values"),
        "label_error": _("Likely wrong class"),
        "duplicate": _("Duplicates"),
        "near_duplicate": _("Near-duplicates"),
        "outlier": _("Outliers"),
        "blank": _("Blank"),
        "clipped": _("Clipped sound"),
        "dark": _("Dark pictures"),
        "bright": _("Bright pictures"),
        "blurry": _("Blurry pictures"),
        "odd_aspect": _("Odd aspect ratio"),
        "language": _("Languages"),
        "imbalance": _("Class imbalance"),
    }[kind]


def meaning(kind: str) -> str:
    """Return in a sentence why a kind of finding matters."""
    return {
        "leak": _("Examples of different splits are the same: results on the test split would be too good."),
        "target_leak": _("A model could read the class here, and would fail where that is not known."),
        "broken": _("These cannot be decoded, or were decoded wrongly before they came here."),
        "missing": _("Values that are empty. A recipe's impute step can fill them."),
        "label_error": _("A model that never saw these examples is sure of another class."),
        "duplicate": _("The same example several times in one split counts more than others."),
        "near_duplicate": _("Nearly the same example several times in one split."),
        "outlier": _("These are far from all other examples; they may not belong here."),
        "blank": _("There is nothing to see or to hear."),
        "clipped": _("Too loud for its recording: the peaks are cut off."),
        "dark": _("So dark that little can be seen."),
        "bright": _("So bright that little can be seen."),
        "blurry": _("There are hardly any edges."),
        "odd_aspect": _("Much wider or taller than others; resizing would distort it."),
        "language": _("Texts in another language than the others, or than was declared."),
        "imbalance": _("Classes with few examples are learnt badly; those that a split lacks are not measured."),
    }[kind]
