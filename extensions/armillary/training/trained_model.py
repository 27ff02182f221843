"""A trained network together with what is needed to ask it about raw examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from armillary.training.frameworks import LAYOUTS, FloatArray, FrameworkName, network_format

if TYPE_CHECKING:
    from armillary.inputs.input_spec import InputSpec

PREDICTION_BATCH = 256


@dataclass(frozen=True)
class TrainedModel:
    """A network, the form of its inputs and the names of its classes.

    Attributes
    ----------
    framework
        ``"torch"`` or ``"tensorflow"``.
    network
        The ``nn.Module`` or ``keras.Model``: takes the readers' ``x``, returns logits ``(batch, classes)``.
    input
        The form of a raw example.
    class_names
        One name for each column of `predict`.
    dataset
        What it was trained on, such as ``"digits@1"``.
    run_id
        The training run, or None when it came from elsewhere.
    name
        The model's name.
    """

    framework: FrameworkName
    network: Any
    input: InputSpec
    class_names: tuple[str, ...]
    dataset: str
    run_id: str | None
    name: str

    def predict(self, examples: npt.ArrayLike) -> FloatArray:
        """Return the probability of each class for raw examples, as the dataset holds them.

        Parameters
        ----------
        examples
            Images uint8 ``(n, height, width, channels)``, or rows ``(n, features)``.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, classes)``; each row adds up to 1.

        Raises
        ------
        DatasetError
            If the examples do not have the shape that the model was trained on.
        """
        x = self.input.prepare(examples, LAYOUTS[self.framework])
        form = network_format(self.framework)
        parts = [form.logits(self.network, x[i : i + PREDICTION_BATCH]) for i in range(0, len(x), PREDICTION_BATCH)]
        return softmax(np.concatenate(parts) if parts else np.zeros((0, len(self.class_names)), np.float32))


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities ``(n, classes)`` for logits ``(n, classes)``, without overflow."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
