"""One small batch through the network before any rank starts, so that a wrong model fails at once and in words."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training.frameworks import FloatArray, FrameworkName, NetworkFormat, network_format

_ = translator(__file__)

CHECKED_EXAMPLES = 4


@dataclass(frozen=True)
class CheckedNetwork:
    """A network that fits its dataset.

    Attributes
    ----------
    packed
        The network, built, as every rank gets it.
    find_unused
        Whether some of its parameters take no part in the output.
    """

    packed: bytes
    find_unused: bool


def check_network(network: Any, framework: FrameworkName, data: Any) -> CheckedNetwork:
    """Send a few training examples through a copy of the network.

    Raises
    ------
    TrainingError
        If it cannot take them, if its output is not one logit for each class, if it returns probabilities, or if
        none of its parameters is trainable.
    """
    form = network_format(framework)
    x = np.asarray(next(iter(getattr(data, f"to_{framework}")("train", batch_size=CHECKED_EXAMPLES)))[0])
    packed = form.pack(network)
    copy, logits = _answer(form, packed, x, type(network).__name__)
    _check_logits(logits, len(x), data)
    if not form.learns(copy):
        raise TrainingError(
            _(
                "The network {name} has nothing to learn: none of its parameters is trainable.",
                name=type(network).__name__,
            ),
            _("Let some of them be trained (requires_grad in PyTorch, trainable in Keras)."),
        )
    # Packed again, for the copy has its lazy layers built: every rank starts from these weights.
    return CheckedNetwork(form.pack(copy), framework == "torch" and _has_unused(copy, x))


def _answer(form: NetworkFormat, packed: bytes, x: FloatArray, name: str) -> tuple[Any, FloatArray]:
    try:
        copy = form.unpack(packed, x)
        return copy, form.logits(copy, x)
    except Exception as error:
        raise TrainingError(
            _(
                "The network {name} cannot take a batch of the shape {shape}: {kind}: {error}",
                name=name,
                shape=x.shape,
                kind=type(error).__name__,
                error=error,
            ),
            _(
                "Its input must be what the dataset's readers give: (batch, channels, height, width) in PyTorch, "
                "(batch, height, width, channels) in Keras, (batch, features) for tables."
            ),
        ) from error


def _check_logits(logits: FloatArray, examples: int, data: Any) -> None:
    classes = len(data.class_names)
    if logits.shape != (examples, classes):
        raise TrainingError(
            _(
                "The network's output has the shape {shape} for {n} examples, but {dataset} has {classes} classes "
                "({names}).",
                shape=logits.shape,
                n=examples,
                dataset=data.reference,
                classes=classes,
                names=_some(data.class_names),
            ),
            _("Let its last layer have {n} outputs, one logit for each class.", n=classes),
        )
    if classes > 1 and (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-4):
        raise TrainingError(
            _("The network returns probabilities: its outputs are not negative and add up to 1."),
            _(
                "Leave out the softmax at its end, so that it returns logits; predict() gives probabilities all the "
                "same."
            ),
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _has_unused(network: Any, x: FloatArray) -> bool:
    """Tell whether a PyTorch parameter gets no gradient, which DistributedDataParallel has to know beforehand."""
    torch = importlib.import_module("torch")
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.from_numpy(np.ascontiguousarray(x))).sum().backward()
    unused = any(parameter.grad is None for parameter in learnt)
    network.zero_grad(set_to_none=True)
    network.load_state_dict(state)
    return unused
