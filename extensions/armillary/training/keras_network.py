"""Keras 3 networks outside of a rank: sent as configuration, weights and the classes that Keras does not know."""

from __future__ import annotations

from typing import Any

import cloudpickle
import keras
import numpy as np
from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training.frameworks import FloatArray

_ = translator(__file__)

CHECKPOINT_SUFFIX = ".npz"


def pack(network: keras.Model) -> bytes:
    """Return configuration, weights and custom classes as bytes (Keras' own pickling drops the classes)."""
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            _("Keras runs on {backend} here; training needs it on TensorFlow.", backend=keras.backend.backend()),
            _("Set KERAS_BACKEND=tensorflow before Keras is imported."),
        )
    try:
        state = {
            "config": keras.saving.serialize_keras_object(network),
            "weights": network.get_weights() if network.built else None,
            "classes": _custom_classes(network),
        }
        return cloudpickle.dumps(state)
    except Exception as error:
        raise TrainingError(
            _("The network {name} cannot be sent to the workers: {error}.", name=type(network).__name__, error=error),
            _("Give its class a get_config() that returns the arguments of its constructor."),
        ) from error


def _custom_classes(network: keras.Model) -> dict[str, type]:
    """Return the classes of the model and its layers that are not Keras' own, by registered name."""
    layers = {type(layer) for layer in network._flatten_layers()}
    own = {cls for cls in layers if not cls.__module__.startswith("keras.")}
    return {keras.saving.get_registered_name(cls): cls for cls in own}


def unpack(packed: bytes, example: FloatArray) -> keras.Model:
    """Rebuild a model; layers that are built on first use see ``example``, ``(batch, ...)`` float32."""
    state: dict[str, Any] = cloudpickle.loads(packed)
    with keras.saving.custom_object_scope(state["classes"]):
        # The code in it is the person's own, from this run: safe mode is for files of others.
        network = keras.saving.deserialize_keras_object(state["config"], safe_mode=False)
    network(example)
    if state["weights"] is not None:
        network.set_weights(state["weights"])
    return network


def logits(network: keras.Model, x: FloatArray) -> FloatArray:
    """Return the output for ``x``, ``(batch, ...)`` float32, in inference mode."""
    return np.asarray(keras.ops.convert_to_numpy(network(x, training=False)), dtype=np.float32)


def learns(network: keras.Model) -> bool:
    """Return whether any variable is trainable."""
    return bool(network.trainable_variables)


def load_weights(network: keras.Model, path: str) -> None:
    """Put a checkpoint's weights into the network; the file may hold arrays, never code."""
    with np.load(path, allow_pickle=False) as stored:
        for index, variable in enumerate(network.variables):
            variable.assign(stored[f"network_{index}"])
