"""What an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from armillary.datasets import Dataset


@dataclass(frozen=True)
class Mistake:
    """An example that the model takes for another class.

    Attributes
    ----------
    row
        Its row in the dataset.
    true, predicted
        Names of the classes.
    confidence
        The probability that the model gives to the wrong class.
    true_probability
        The probability that it gives to the right one.
    """

    row: int
    true: str
    predicted: str
    confidence: float
    true_probability: float


class Evaluation:
    """A model's predictions on one split, and what they amount to. Shows itself in a notebook.

    Attributes
    ----------
    rows
        The dataset's rows that were evaluated, ``(n,)``.
    labels
        Their classes, ``(n,)``, indices into ``class_names``.
    probabilities
        ``(n, classes)``.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        probabilities: NDArray[np.float64],
        model_name: str = "",
    ) -> None:
        self.dataset = dataset
        self.split = split
        self.rows = rows
        self.labels = labels
        self.probabilities = probabilities
        self.model_name = model_name

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Evaluation of {self.model_name} on {self.dataset.reference} {self.split}: {self.summary()}>"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The dataset's classes."""
        return self.dataset.class_names

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The most probable class of each example, ``(n,)``."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of examples whose most probable class is the right one."""
        return float((self.predictions == self.labels).mean())

    @cached_property
    def report(self) -> pd.DataFrame:
        """Precision, recall, F1 and support (number of examples) of each class; 0 where undefined."""
        scores = precision_recall_fscore_support(
            self.labels, self.predictions, labels=range(len(self.class_names)), zero_division=0
        )
        columns = dict(zip(("precision", "recall", "f1", "support"), scores, strict=True))
        return pd.DataFrame(columns, index=pd.Index(self.class_names, name="class"))

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts ``(classes, classes)``: rows are true classes, columns predicted ones."""
        return confusion_matrix(self.labels, self.predictions, labels=range(len(self.class_names)))

    def mistakes(self, n: int = 20, *, true: str | None = None, predicted: str | None = None) -> list[Mistake]:
        """Return the worst mistakes: those made with the highest confidence.

        Parameters
        ----------
        n
            At most so many.
        true, predicted
            Only those of this true class, or taken for this class.
        """
        wrong = self.predictions != self.labels
        if true is not None:
            wrong &= self.labels == self.class_names.index(true)
        if predicted is not None:
            wrong &= self.predictions == self.class_names.index(predicted)
        found = np.flatnonzero(wrong)
        confidence = self.probabilities[found, self.predictions[found]]
        return [self._mistake(int(index)) for index in found[np.argsort(-confidence, kind="stable")][:n]]

    def _mistake(self, index: int) -> Mistake:
        chances = self.probabilities[index]
        true, predicted = int(self.labels[index]), int(self.predictions[index])
        return Mistake(
            int(self.rows[index]),
            self.class_names[true],
            self.class_names[predicted],
            float(chances[predicted]),
            float(chances[true]),
        )

    def summary(self) -> dict[str, float]:
        """Return the figures worth keeping with a run: accuracy, and precision, recall and F1 as means over classes."""
        present = self.report[self.report["support"] > 0]
        means = {f"macro_{name}": float(present[name].mean()) for name in ("precision", "recall", "f1")}
        return {"accuracy": self.accuracy, **means, "examples": float(len(self))}

    def panel(self, **options: Any) -> Any:
        """Return the panel that shows this evaluation; see `armillary.evaluation.panel`."""
        from armillary.evaluation import panel

        return panel(self, **options)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from armillary.evaluation.page import page

        return {"text/plain": repr(self), "text/html": page(self)}
