"""Likely label errors by confident learning (Northcutt, Jiang and Chuang, 2021), as cleanlab does it.

It needs the probability of each class for each example, from a model that never saw it: five models, each of which
learns from four fifths of the examples, copies always on the same side.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.findings import Finding, Suggestion
from armillary.errors import DatasetError

_ = translator(__file__)

#: A class with fewer examples cannot be learnt in five parts; below this agreement with the labels nothing was learnt.
FEWEST, FOLDS = 5, 5
LEAST_KAPPA = 0.25
#: The likelier class must be so much likelier.
MARGIN = 0.6
_MANY = 5000


def probabilities(features: Any, labels: NDArray[np.int64], copies: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return the probability of each class ``(n, classes)`` by models that did not see the example.

    Parameters
    ----------
    features
        ``(n, d)``, dense or sparse.
    labels
        The classes ``(n,)``, from 0 without a gap.
    copies
        What is equal for examples that are the same ``(n,)``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    model = LogisticRegression(C=10.0, max_iter=300 if len(labels) <= _MANY else 100)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    groups = np.unique(copies, return_inverse=True)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to the last digit
        return cross_val_predict(model, features, labels, cv=folds, groups=groups, method="predict_proba")


def agreement(labels: NDArray[np.int64], told: NDArray[Any]) -> tuple[float, float]:
    """Return how often the most probable class is the label, and Cohen's kappa, which is 0 for guessing."""
    from sklearn.metrics import cohen_kappa_score

    most = told.argmax(axis=1)
    return float((most == labels).mean()), float(cohen_kappa_score(labels, most))


def label_errors(
    rows: NDArray[np.int64], labels: NDArray[np.int64], told: NDArray[Any], class_names: Sequence[str]
) -> Iterator[Finding]:
    """Yield the examples whose label is likely wrong, the likeliest first.

    Parameters
    ----------
    rows, labels
        The number and the class of each example, ``(n,)``.
    told
        Out-of-sample probabilities ``(n, classes)``.
    class_names
        The classes in the order of ``told``.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        what = _("Wrong classes cannot be looked for: {error}.", error=error)
        raise DatasetError(what, _("Install armillary[data].")) from error
    margin = told.max(axis=1) - told[np.arange(len(labels)), labels]
    wrong = find_label_issues(labels, told, filter_by="predicted_neq_given", n_jobs=1) & (margin >= MARGIN)
    for index in sorted(np.flatnonzero(wrong).tolist(), key=lambda index: -margin[index]):
        row, label, other = int(rows[index]), int(labels[index]), int(told[index].argmax())
        what = _(
            "Labelled “{given}”; a model that never saw it says “{other}” ({sure:.0%}; “{given}”: {given_sure:.0%}).",
            given=class_names[label],
            other=class_names[other],
            sure=float(told[index, other]),
            given_sure=float(told[index, label]),
        )
        relabel = Suggestion(row, "relabel", class_names[other])
        advice = _("Relabel it to “{other}”, if you agree.", other=class_names[other])
        yield Finding("label_error", (row,), float(margin[index]), what, advice, (relabel,))
