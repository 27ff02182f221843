"""The same example several times: within a split, and across splits, where it makes results too good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.columns import is_media
from armillary.datasets.checking.findings import Finding, Suggestion, removal
from armillary.datasets.checking.parts import NO_PAIRS, Part
from armillary.datasets.checking.values import ValuePart

_ = translator(__file__)

#: Of several examples the one in the first of these splits stays: what is measured on must not change.
_KEPT_FIRST = ("test", "validation", "train")
_LISTED = 8

#: A table in which at least so many rows look like others, so many on average and such a part of all, has columns that
#: tell too little: copies come in twos and threes.
_MANY, _EACH, _PART = 50, 5, 0.1
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Marks:
    """What tells examples apart besides their contents: the split of each row, and its class if there is one."""

    splits: Sequence[str]
    labels: NDArray[np.int64] | None
    class_names: Sequence[str]

    def classes_of(self, rows: Sequence[int]) -> list[str]:
        """Return the class of each row, of those that have one."""
        if self.labels is None:
            return []
        return [self.class_names[self.labels[row]] for row in rows if self.labels[row] >= 0]


def compared(parts: Sequence[Part]) -> list[Part]:
    """Return the parts by which examples are the same.

    These are media and texts; of a table all columns but identifiers, for these differ between copies.
    """
    content = [part for part in parts if part.is_content]
    others = [part for part in parts if not (isinstance(part, ValuePart) and part.is_identifier)]
    return content or others


def together(parts: Sequence[Part]) -> NDArray[np.uint64]:
    """Return one fingerprint ``(rows,)`` for all parts; 0 where all are missing."""
    mixed = np.zeros(len(parts[0].fingerprints), np.uint64)
    for part in parts:
        mixed = (mixed ^ part.fingerprints) * _MIX
        mixed ^= mixed >> np.uint64(31)
    mixed[np.all([part.missing for part in parts], axis=0)] = 0
    return mixed


def duplicates(parts: Sequence[Part], marks: Marks) -> Iterator[Finding]:
    """Yield every group of examples that are the same or nearly so, and every medium that stands in several splits."""
    chosen = compared(parts)
    if not chosen:
        return
    exact = together(chosen)
    groups = same_groups(exact)
    alike = [row for rows in groups for row in rows]
    if not chosen[0].is_content and len(alike) >= max(_MANY, _EACH * len(groups), _PART * len(exact)):
        yield _too_little_told(sorted(alike), len(exact))
        return
    yield from (_finding(rows, marks, near=False) for rows in groups)
    yield from (_finding(rows, marks, near=True) for rows in near_groups(chosen, groups))
    if len(chosen) > 1:
        for part in chosen:
            if is_media(part.leaf.feature):
                yield from _shared_media(part, exact, marks)


def same_groups(fingerprints: NDArray[np.uint64]) -> list[list[int]]:
    """Return the rows of each fingerprint that occurs more than once; 0 stands for nothing."""
    order = np.argsort(fingerprints, kind="stable")
    ordered = fingerprints[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.append(starts[1:], len(ordered))
    several = (ends - starts > 1) & (ordered[starts] != 0)
    return sorted(order[a:b].tolist() for a, b in zip(starts[several], ends[several], strict=True))


def near_groups(parts: Sequence[Part], exact: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the rows of each group whose parts are all nearly the same, but not all of them exactly."""
    pairs = np.concatenate([NO_PAIRS, *(part.near_pairs() for part in parts)])
    for part in parts:
        pairs = pairs[part.alike(pairs)] if len(pairs) else pairs
    if not len(pairs):
        return []
    same = np.array([[group[0], row] for group in exact for row in group[1:]], np.int64).reshape(-1, 2)
    first = {row: group[0] for group in exact for row in group}
    components = _components(np.concatenate([pairs, same]), len(parts[0].fingerprints))
    return [rows for rows in components if len({first.get(row, row) for row in rows}) > 1]


def _components(pairs: NDArray[np.int64], rows: int) -> list[list[int]]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    _count, labels = connected_components(graph, directed=False)
    return same_groups(labels.astype(np.uint64) + np.uint64(1))


def _finding(rows: Sequence[int], marks: Marks, *, near: bool) -> Finding:
    splits = sorted({marks.splits[row] for row in rows}, key=_rank)
    classes = sorted(set(marks.classes_of(rows)))
    kind = "leak" if len(splits) > 1 else "near_duplicate" if near else "duplicate"
    same = _("Nearly the same example") if near else _("The same example")
    listed = ", ".join(map(str, rows[:_LISTED])) + (", …" if len(rows) > _LISTED else "")
    what = _("{same} stands {n} times: rows {rows}", same=same, n=len(rows), rows=listed)
    if len(splits) > 1:
        what += _(", in {splits}", splits=", ".join(_(split) for split in splits))
    if len(classes) > 1:
        what += _(", with different classes: {classes}", classes=", ".join(classes))
    advice, suggestions = _suggested(rows, marks, len(classes) > 1)
    return Finding(kind, tuple(rows), 0.9 if near else 1.0, _("{what}.", what=what), advice, suggestions)


def _too_little_told(rows: Sequence[int], total: int) -> Finding:
    what = _(
        "{n} of {total} rows look like another: the columns tell too little to say which are copies.",
        n=len(rows),
        total=total,
    )
    advice = _("Add a column that tells examples apart, if there is one.")
    return Finding("duplicate", tuple(rows), 0.3, what, advice, ())


def _suggested(rows: Sequence[int], marks: Marks, differ: bool) -> tuple[str, tuple[Suggestion, ...]]:
    if differ:
        return _("Decide which class is right, and remove the others."), ()
    kept = min(rows, key=lambda row: (_rank(marks.splits[row]), row))
    return _("Keep row {row}, remove the others.", row=kept), removal(row for row in rows if row != kept)


def _rank(split: str) -> tuple[int, str]:
    return (_KEPT_FIRST.index(split) if split in _KEPT_FIRST else len(_KEPT_FIRST), split)


def _shared_media(part: Part, exact: NDArray[np.uint64], marks: Marks) -> Iterator[Finding]:
    """Yield each medium that stands in several splits, in examples that are not the same."""
    fingerprints = np.where(part.missing, np.uint64(0), part.fingerprints)
    for rows in same_groups(fingerprints):
        splits = sorted({marks.splits[row] for row in rows}, key=_rank)
        if len(splits) > 1 and len(set(exact[rows].tolist())) > 1:
            what = _(
                "The same {column} stands in {splits}, in examples that differ otherwise: rows {rows}.",
                column=part.name,
                splits=", ".join(_(split) for split in splits),
                rows=", ".join(map(str, rows[:_LISTED])) + (", …" if len(rows) > _LISTED else ""),
            )
            yield Finding("leak", tuple(rows), 1.0, what, _("Split anew, grouped by this column."), (), part.name)
