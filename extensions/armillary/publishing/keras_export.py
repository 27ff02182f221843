"""A Keras 3 network (on TensorFlow) as ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf2onnx

OPSET = 18


def export_keras(network: Any, shape: tuple[int, ...], path: Path) -> None:
    """Write ``network`` as ONNX into one file; examples have ``shape``, the batch any size.

    Not ``network.export(format="onnx")``: that has no say in names, and no place for the softmax.
    """
    signature = (tf.TensorSpec((None, *shape), tf.float32, name="input"),)

    @tf.function(input_signature=signature)
    def probabilities(x: Any) -> dict[str, Any]:
        return {"probabilities": tf.nn.softmax(network(x, training=False), axis=-1)}

    tf2onnx.convert.from_function(probabilities, input_signature=signature, opset=OPSET, output_path=str(path))
