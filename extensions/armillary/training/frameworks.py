"""What differs between PyTorch and Keras outside of a rank: how a network is recognised, sent, rebuilt and asked.

Neither framework is imported before one of its networks is at hand, for each import costs seconds.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
from armillary_kernels.texts import translator

from armillary.errors import TrainingError

if TYPE_CHECKING:
    from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)

FrameworkName = Literal["torch", "tensorflow"]
FRAMEWORKS: tuple[FrameworkName, ...] = ("torch", "tensorflow")

#: Where each framework has the channels of an image, in the words of `armillary.datasets.InputSpec.prepare`.
LAYOUTS: dict[FrameworkName, Literal["channels_first", "channels_last"]] = {
    "torch": "channels_first",
    "tensorflow": "channels_last",
}

FloatArray = npt.NDArray[np.float32]


class NetworkFormat(Protocol):
    """One framework's way with networks; the modules `torch_network` and `keras_network` are two of these."""

    #: Suffix of a checkpoint's file.
    CHECKPOINT_SUFFIX: str

    def pack(self, network: Any) -> bytes:
        """Return architecture and weights as bytes; classes defined in a notebook travel along."""
        ...

    def unpack(self, packed: bytes, example: FloatArray) -> Any:
        """Rebuild a packed network; ``example`` is one batch in the reader's layout, to build lazy layers."""
        ...

    def logits(self, network: Any, x: FloatArray) -> FloatArray:
        """Return the network's output for one batch in the reader's layout, without dropout."""
        ...

    def learns(self, network: Any) -> bool:
        """Return whether any parameter is trainable."""
        ...

    def load_weights(self, network: Any, path: str) -> None:
        """Put a checkpoint's weights into the network."""
        ...


def network_format(framework: str) -> NetworkFormat:
    """Return the module that handles networks of ``framework``, which is imported by this call."""
    module = {"torch": "torch_network", "tensorflow": "keras_network"}[framework]
    return cast("NetworkFormat", importlib.import_module(f"armillary.training.{module}"))


def blank_batch(spec: InputSpec, framework: FrameworkName) -> FloatArray:
    """Return one black or zero example in the reader's layout, from which lazy layers take their shapes."""
    raw = np.zeros((1, *spec.shape), spec.dtype)
    return np.asarray(spec.prepare(raw, LAYOUTS[framework]), dtype=np.float32)


def framework_of(network: object) -> FrameworkName:
    """Return the framework that a network belongs to.

    Raises
    ------
    TrainingError
        If it is neither an ``nn.Module`` nor a Keras model.
    """
    # A network at hand means that its framework has been imported: no need to import the other one.
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    if torch is not None and isinstance(network, torch.nn.Module):
        return "torch"
    if keras is not None and isinstance(network, keras.Model):
        return "tensorflow"
    raise TrainingError(
        _(
            "A {kind} is neither a torch.nn.Module nor a Keras 3 model.",
            kind=f"{type(network).__module__}.{type(network).__qualname__}",
        ),
        _("Give one of those, or the name of a ready model: 'cnn', 'rnn' or 'transformer'."),
    )
