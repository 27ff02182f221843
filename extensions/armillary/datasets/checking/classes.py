"""How the classes are shared out, and what tells them that should not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.findings import Finding
from armillary.datasets.checking.parts import Part
from armillary.datasets.checking.texts import TextPart
from armillary.datasets.checking.values import ValuePart

_ = translator(__file__)

_RARE, _FEWEST = 0.1, 10
#: Numbers may truly tell the class; other columns hardly.
_LARGEST = 1e30  # scikit-learn's trees take no infinity
_TELLS, _CATEGORY_TELLS, _ENOUGH = 0.98, 0.95, 30


def imbalance(class_names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    """Yield the classes that have few examples, and those that a split lacks.

    ``counts`` are, per split, the examples of each class.
    """
    totals = np.sum(list(counts.values()), axis=0)
    largest = int(totals.max(initial=0))
    more = _("Collect more of it, weight the classes in training, or leave it out.")
    for name, total in zip(class_names, totals.tolist(), strict=True):
        if total < _RARE * largest or (total < _FEWEST and largest >= 2 * _FEWEST):
            times = largest / total if total else float(largest)
            what = _("Class “{name}” has {n} examples, the largest {largest}.", name=name, n=total, largest=largest)
            yield Finding("imbalance", (), 1 - 1 / max(times, 1), what, more)
    for split, per_class in counts.items():
        lacking = [name for name, n, total in zip(class_names, per_class, totals, strict=True) if total and not n]
        if lacking:
            listed = ", ".join(lacking[:8]) + (", …" if len(lacking) > 8 else "")
            what = _("Split {split} has no example of: {classes}.", split=_(split), classes=listed)
            yield Finding("imbalance", (), 0.9, what, _("Split anew, stratified by class."))


def target_leaks(
    parts: Sequence[Part], labels: NDArray[np.int64], class_names: Sequence[str], seed: int
) -> Iterator[Finding]:
    """Yield the columns, sizes, lengths and words by which alone the class can be told.

    ``labels`` are the classes of the sample's rows, -1 of those without.
    """
    labelled = labels >= 0
    for part in parts:
        for name, values in part.measures().items():
            told = _told_by(np.clip(values[labelled], -_LARGEST, _LARGEST), labels[labelled], seed)
            if told >= (_CATEGORY_TELLS if isinstance(part, ValuePart) and not part.is_real else _TELLS):
                yield _leak(part, name, told)
        if isinstance(part, TextPart):
            for word, label, told in part.telling_words(labels):
                what = _(
                    "Nearly all texts of class “{name}” have “{word}” in {column}, nearly no other does.",
                    name=class_names[label],
                    word=word,
                    column=part.name,
                )
                advice = _("Take the word out of the texts if it is not there when the class is not known.")
                yield Finding("target_leak", (), told, what, advice, (), part.name)


def _leak(part: Part, name: str, told: float) -> Finding:
    what = _("{name} alone tells the class ({told:.1%} right, each class counting alike).", name=name, told=told)
    advice = _("Leave the column out if it is not known when the class is not.")
    if not isinstance(part, ValuePart):
        advice = _("Bring all examples to one form, so that a model must look at what is in them.")
    return Finding("target_leak", (), told, what, advice, (), part.name)


def _told_by(values: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> float:
    """Return the balanced accuracy of telling the class by one number, on examples not learnt from."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    present, counts = np.unique(labels, return_counts=True)
    usable = np.isin(labels, present[counts >= 3])
    values, labels = values[usable], labels[usable]
    classes = len(np.unique(labels))
    if classes < 2 or len(labels) < _ENOUGH or len(np.unique(values[~np.isnan(values)])) < 1:
        return 0.0
    if np.nanmax(values) == np.nanmin(values) and not np.isnan(values).any():
        return 0.0
    tree = DecisionTreeClassifier(max_leaf_nodes=max(8, 4 * classes), min_samples_leaf=2, random_state=seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    told = cross_val_predict(tree, values.astype(np.float64)[:, None], labels, cv=folds)
    return float(balanced_accuracy_score(labels, told))
