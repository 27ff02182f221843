"""Exporting a trained model to ONNX, and checking the export against the original."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from armillary_kernels.texts import translator

from armillary.errors import DatasetError, PublishingError
from armillary.publishing.export_process import export_in_own_process

if TYPE_CHECKING:
    from armillary.datasets import Dataset
    from armillary.training.run import Run
    from armillary.training.trained_model import TrainedModel

_ = translator(__file__)

#: The largest difference between two probabilities that is put down to rounding.
TOLERANCE = 1e-4

#: Examples compared, at two batch sizes: a dimension that was fixed by mistake shows at the second.
CHECKED = 64
_BATCHES = (1, 7)


@dataclass(frozen=True)
class Export:
    """A checked export.

    Attributes
    ----------
    path
        The ONNX file: input ``input`` float32 (batch first, any size), output ``probabilities``.
    difference
        The largest absolute difference between its probabilities and the original's.
    examples
        How many examples were compared.
    """

    path: Path
    difference: float
    examples: int


def export_onnx(
    model: TrainedModel | Run, path: str | Path, *, data: Dataset | str | None = None, tolerance: float = TOLERANCE
) -> Export:
    """Write a model as ONNX, with the softmax inside, and check it against the original.

    Parameters
    ----------
    model
        The trained model, or a run, whose model is waited for.
    path
        The file to write; it appears only when the check has passed.
    data
        The dataset, or its reference, whose test examples are compared; default: the one that the model was trained
        on, else noise.
    tolerance
        The largest difference allowed between two probabilities.

    Returns
    -------
    Export
        The file and how closely it agrees.

    Raises
    ------
    PublishingError
        When the network cannot be exported, its output does not match the classes, or the export does not agree.
    """
    path, model = Path(path), trained_model(model)
    raw = examples_to_compare(model, data)
    expected = model.predict(raw)
    _check_classes(model, expected)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        aside = export_in_own_process(model, Path(folder))
        difference = compare(model, aside, raw, expected)
        if not difference <= tolerance:
            raise PublishingError(
                _(
                    "The ONNX export of '{name}' differs from the original by up to {difference:.2g};"
                    " {tolerance:.2g} is allowed.",
                    name=model.name,
                    difference=difference,
                    tolerance=tolerance,
                ),
                _("Look for layers that depend on the batch or behave otherwise in training, or raise the tolerance."),
            )
        aside.rename(path)
    return Export(path, difference, len(raw))


def trained_model(model: Any) -> TrainedModel:
    """Return the model, of a run the one that it trained.

    Raises
    ------
    PublishingError
        When it is something else.
    """
    from armillary.training.trained_model import TrainedModel

    found = getattr(model, "model", model)
    if not isinstance(found, TrainedModel):
        raise PublishingError(
            _("A {kind} is no trained model.", kind=type(model).__name__),
            _("Give the run that fit() returned, or training.load(run_id)."),
        )
    return found


def compare(model: TrainedModel, path: Path, raw: npt.NDArray[Any], expected: npt.NDArray[np.float32]) -> float:
    """Return the largest absolute difference between ``expected`` ``(n, classes)`` and what the ONNX file gives.

    Raises
    ------
    PublishingError
        When ONNX Runtime cannot run the file at one of the batch sizes.
    """
    import onnxruntime

    from armillary.training.frameworks import LAYOUTS

    x = model.input.prepare(raw, LAYOUTS[model.framework])
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        worst = 0.0
        for size in (*_BATCHES, len(x)):
            (got,) = session.run(["probabilities"], {"input": x[:size]})
            worst = max(worst, float(np.abs(got - expected[:size]).max()))
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        reason = str(error).splitlines()[0]
        raise PublishingError(
            _("ONNX Runtime cannot run the export of '{name}': {reason}.", name=model.name, reason=reason),
            _("The network must take batches of any size."),
        ) from error
    return worst if np.isfinite(worst) else float("inf")


def examples_to_compare(model: TrainedModel, data: Dataset | str | None = None) -> npt.NDArray[Any]:
    """Return raw examples to compare: of the test split, else of another one, else noise of the right form."""
    dataset = _dataset(model, data)
    if dataset is not None:
        split = "test" if "test" in dataset.splits else None
        return dataset.raw_examples.take(dataset.rows(split)[:CHECKED])
    random = np.random.default_rng(0)
    shape = (CHECKED, *model.input.shape)
    if model.input.kind == "image":
        return random.integers(0, 256, shape, dtype=np.uint8)
    mean, std = np.asarray(model.input.mean), np.asarray(model.input.std)
    return (mean + std * random.normal(size=shape)).astype(np.float32)


def _dataset(model: TrainedModel, data: Dataset | str | None) -> Dataset | None:
    from armillary import datasets

    if data is not None:
        return datasets.open(data)
    try:
        return datasets.open(model.dataset) if model.dataset else None
    except DatasetError:
        return None


def _check_classes(model: TrainedModel, probabilities: npt.NDArray[np.float32]) -> None:
    given, known = probabilities.shape[1], len(model.class_names)
    if given != known:
        raise PublishingError(
            _(
                "'{name}' gives {given} values for each example, but there are {known} classes.",
                name=model.name,
                given=given,
                known=known,
            ),
            _("Make the network's last layer as wide as the dataset has classes, and train it again."),
        )
    if not np.isfinite(probabilities).all():
        raise PublishingError(
            _("'{name}' gives NaN for test examples.", name=model.name),
            _("Train it again, with a smaller learning rate."),
        )
