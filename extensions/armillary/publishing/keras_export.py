"""A Keras 3 network (on TensorFlow) as ONNX, by tf2onnx."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

OPSET = 18


def export_keras(network: Any, shape: tuple[int, ...], path: Path) -> None:
    """Write ``network`` as ONNX into one file; examples have ``shape``, the batch any size.

    Not ``network.export(format="onnx")``: that has no say in names, and no place for the softmax.
    """
    with _quiet():
        import tf2onnx

        signature = (tf.TensorSpec((None, *shape), tf.float32, name="input"),)

        @tf.function(input_signature=signature)
        def probabilities(x: Any) -> dict[str, Any]:
            return {"probabilities": tf.nn.softmax(network(x, training=False), axis=-1)}

        tf2onnx.convert.from_function(probabilities, input_signature=signature, opset=OPSET, output_path=str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's notes on its own progress out of the notebook."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
