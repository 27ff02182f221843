"""Small ONNX models made by hand, so that tests of serving need no training framework."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

APPS = Path(__file__).parents[2] / "notebooks" / "apps"
CLASSES = [str(digit) for digit in range(10)]


def digits_model(seed: int = 0, batch: str | int = "batch") -> bytes:
    """Return a softmax regression on 1×28×28 pictures."""
    weights = np.random.default_rng(seed).normal(size=(784, 10)).astype(np.float32) * 0.05
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return _model(nodes, {"weights": weights}, [batch, 1, 28, 28], 10)


def brightness_model() -> bytes:
    """Return a model of three classes: dark, middling, bright."""
    centres = np.array([0.0, 0.5, 1.0], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Sub", ["column", "centres"], ["off"]),
        helper.make_node("Mul", ["off", "off"], ["square"]),
        helper.make_node("Mul", ["square", "sharp"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {
        "axes": np.array([1, 2, 3]),
        "last": np.array([1]),
        "centres": centres,
        "sharp": np.array(-40, np.float32),
    }
    return _model(nodes, constants, ["batch", 1, 28, 28], 3)


def flower_model() -> bytes:
    """Return a model of two classes for rows of three: the second is likelier where their sum is above zero."""
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return _model(nodes, {"weights": np.array([[-1, 1]] * 3, np.float32)}, ["batch", 3], 2)


def unknown_operator_model() -> bytes:
    """Return a model that looks like `digits_model` and that ONNX Runtime cannot load."""
    model = onnx.load_model_from_string(digits_model())
    model.graph.node[0].op_type = "NoSuchOperator"
    return model.SerializeToString()


def _model(nodes, constants, shape, classes) -> bytes:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [shape[0], classes])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model.SerializeToString()


def release(title: str = "Digits", classes: list[str] = CLASSES, **values) -> dict:
    """Return what a release says about a model of 28×28 grey pictures."""
    spec = {"kind": "image", "shape": [28, 28, 1], "dtype": "uint8", "scale": 1 / 255}
    return {"title": title, "class_names": classes, "input": spec, "layout": "channels_first", **values}


def table_release(columns: list[str], title: str, classes: list[str]) -> dict:
    """Return what a release says about a model of table rows whose columns' means are 0.5."""
    size = len(columns)
    spec = {"kind": "table", "shape": [size], "dtype": "float32", "scale": 1.0, "columns": columns}
    numbers = {"mean": [0.5] * size, "std": [1.0] * size}
    return {"title": title, "class_names": classes, "input": spec | numbers, "layout": "channels_last"}


def upload(model: bytes, about: dict, access=None, notebook: str = "image_classifier") -> dict:
    """Return the multipart parts that publish a model."""
    parts = {
        "release": (None, json.dumps(about)),
        "model.onnx": ("model.onnx", model),
        "app.ipynb": ("app.ipynb", (APPS / f"{notebook}.ipynb").read_bytes()),
    }
    return {**parts, "access": (None, json.dumps(access))} if access is not None else parts
