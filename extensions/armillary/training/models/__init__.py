"""Ready networks by name: `cnn`, `rnn` and `transformer`, for images and tables, in PyTorch and Keras.

None has dropout or batch normalisation, so that one worker and many compute the same.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training.frameworks import FRAMEWORKS, FrameworkName

if TYPE_CHECKING:
    from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)

NAMES = ("cnn", "rnn", "transformer")

_MODULES = {"torch": "torch_models", "tensorflow": "keras_models"}
_PACKAGES = {"torch": "torch", "tensorflow": "keras"}


def installed_frameworks() -> tuple[FrameworkName, ...]:
    """Return the frameworks that can be imported here, PyTorch first."""
    return tuple(name for name in FRAMEWORKS if importlib.util.find_spec(_PACKAGES[name]))


def build(name: str, spec: InputSpec, classes: int, *, framework: str | None = None, seed: int = 0) -> Any:
    """Return a new network by name.

    Parameters
    ----------
    name
        One of `NAMES`.
    spec
        The dataset's input.
    classes
        Number of classes: the width of the logits.
    framework
        ``"torch"`` or ``"tensorflow"``; None takes the first that is installed.
    seed
        Of the initial weights.

    Returns
    -------
    torch.nn.Module or keras.Model

    Raises
    ------
    TrainingError
        If there is no such model, or the framework is not installed.
    """
    if name not in NAMES:
        raise TrainingError(
            _("There is no ready model {name!r}.", name=name), _("Ready models: {names}.", names=", ".join(NAMES))
        )
    available = installed_frameworks()
    framework = framework or (available[0] if available else "torch")
    if framework not in available:
        raise TrainingError(
            _(
                "The framework {name!r} is not installed here (installed: {listed}).",
                name=framework,
                listed=", ".join(available) or _("none"),
            ),
            _("Install armillary[torch] or armillary[tensorflow], or choose another framework."),
        )
    module = importlib.import_module(f"armillary.training.models.{_MODULES[framework]}")
    return getattr(module, name)(spec.kind, spec.prepared_shape(), classes, seed)


def cnn(spec: InputSpec, classes: int, *, framework: str | None = None, seed: int = 0) -> Any:
    """Return a convolutional network; see `build`."""
    return build("cnn", spec, classes, framework=framework, seed=seed)


def rnn(spec: InputSpec, classes: int, *, framework: str | None = None, seed: int = 0) -> Any:
    """Return an LSTM that reads an image row by row, or a table's row column by column; see `build`."""
    return build("rnn", spec, classes, framework=framework, seed=seed)


def transformer(spec: InputSpec, classes: int, *, framework: str | None = None, seed: int = 0) -> Any:
    """Return a transformer encoder over image patches, or over the columns of a table; see `build`."""
    return build("transformer", spec, classes, framework=framework, seed=seed)
