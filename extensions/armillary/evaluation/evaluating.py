"""Ask a model about every example of a split and check that its answers make sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray
from tqdm.auto import tqdm

from armillary.datasets import Dataset
from armillary.datasets import open as open_dataset
from armillary.errors import EvaluationError
from armillary.evaluation.result import Evaluation

_ = translator(__file__)

BATCH = 256


def evaluate(
    model: Any,
    data: Dataset | str,
    split: str = "test",
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare a model's predictions with the classes of a split.

    Parameters
    ----------
    model
        A ``TrainedModel``, a ``Run`` (its model is waited for), or anything whose ``predict(X)`` returns one row of
        probabilities or logits per example, ``(n, classes)``, for the dataset's raw examples.
    data
        A dataset or a reference such as ``"digits@1"``.
    split
        Which examples; never ``"train"`` if the figures are to mean anything.
    progress
        Called with the number of examples done and of all; without it a bar shows when it takes longer than a second.

    Returns
    -------
    Evaluation
        Accuracy, precision, recall and F1 per class, confusion matrix, and the worst mistakes.

    Raises
    ------
    EvaluationError
        When the model's output does not match the classes or is not finite.
    DatasetError
        When there is no such dataset or split.
    """
    dataset = open_dataset(data)
    rows = dataset.rows(split)
    if not len(rows):
        what = _("Split {split!r} of {dataset} is empty.", split=split, dataset=dataset.reference)
        raise EvaluationError(what, _("Evaluate another split."))
    predictor = _predictor(model)
    _check_classes(predictor, dataset)
    probabilities = _predicted(predictor, dataset, rows, progress)
    return Evaluation(dataset, split, rows, dataset.labels(split), probabilities, _name_of(predictor))


def _predictor(model: Any) -> Any:
    """Return what has ``predict``: a run stands for the model it trained."""
    found = model if hasattr(model, "predict") else getattr(model, "model", None)
    if not hasattr(found, "predict"):
        raise EvaluationError(
            _("A {kind} has no predict(X).", kind=type(model).__name__),
            _("Give a trained model, a run, or an object whose predict(X) returns probabilities (n, classes)."),
        )
    return found


def _check_classes(predictor: Any, dataset: Dataset) -> None:
    names = getattr(predictor, "class_names", None)
    if names is not None and tuple(names) != dataset.class_names:
        raise EvaluationError(
            _(
                "The model tells apart {known}; {dataset} holds {classes}.",
                known=_listed(names),
                dataset=dataset.reference,
                classes=_listed(dataset.class_names),
            ),
            _("Evaluate it on a dataset with the same classes in the same order."),
        )


def _listed(names: Any) -> str:
    shown = [*map(str, list(names)[:10]), *(["…"] if len(names) > 10 else [])]
    return _("{n} classes ({names})", n=len(names), names=", ".join(shown))


def _predicted(
    predictor: Any, dataset: Dataset, rows: NDArray[np.int64], progress: Callable[[int, int], None] | None
) -> NDArray[np.float64]:
    """Return probabilities ``(n, classes)``, asked for in batches so that memory stays bounded."""
    examples = dataset.raw_examples
    parts: list[NDArray[np.float64]] = []
    with tqdm(total=len(rows), desc=dataset.reference, delay=1, leave=False, disable=progress is not None) as bar:
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            parts.append(_checked(predictor.predict(examples.take(batch)), len(batch), dataset))
            bar.update(len(batch))
            if progress:
                progress(first + len(batch), len(rows))
    return as_probabilities(np.concatenate(parts))


def _checked(output: Any, examples: int, dataset: Dataset) -> NDArray[np.float64]:
    wanted = (examples, len(dataset.class_names))
    array = np.asarray(output)
    if array.shape != wanted:
        raise EvaluationError(
            _(
                "The model's output has shape {shape}; {n} examples of {dataset} with {classes} classes need {wanted}.",
                shape=array.shape,
                n=examples,
                dataset=dataset.reference,
                classes=wanted[1],
                wanted=wanted,
            ),
            _("Give the model one output per class."),
        )
    array = array.astype(np.float64)
    bad = int((~np.isfinite(array)).any(axis=1).sum())
    if bad:
        raise EvaluationError(
            _("The model's output for {bad} of {n} examples is not a number.", bad=bad, n=examples),
            _("Train it anew with a smaller learning rate, and look for NaN in its weights."),
        )
    return array


def as_probabilities(output: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows that add up to 1: probabilities as they are, logits through softmax. ``(n, classes)``."""
    if (output >= -1e-6).all() and np.allclose(output.sum(axis=1), 1, atol=1e-3):
        return output.clip(0, 1)
    exponentials = np.exp(output - output.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _name_of(predictor: Any) -> str:
    return str(getattr(predictor, "name", None) or type(predictor).__name__)
