"""Evaluation: how well a model does on examples it has not seen.

>>> from armillary import evaluation
>>> result = evaluation.evaluate(model, "digits@1")
>>> result.accuracy
0.978
"""

from __future__ import annotations

from typing import Any

from armillary.evaluation.evaluating import evaluate
from armillary.evaluation.result import Evaluation, Mistake

__all__ = ["Evaluation", "Mistake", "evaluate", "panel"]


def panel(evaluation: Evaluation, **options: Any) -> Any:
    """Return the panel that shows an evaluation; see `armillary.evaluation.evaluation_panel.EvaluationPanel`."""
    from armillary.evaluation.evaluation_panel import EvaluationPanel

    return EvaluationPanel(evaluation, **options)
