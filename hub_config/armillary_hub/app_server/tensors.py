"""Tensors as the Open Inference Protocol v2 names and writes them.

Source: https://github.com/kserve/open-inference-protocol (data types, row-major data) and Triton's binary tensor
extension (raw little-endian bytes after the JSON header).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armillary_hub.app_server.refusals import BadRequestError

#: Protocol type to numpy type.
NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

#: ONNX Runtime's names of element types to protocol types.
PROTOCOL_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}

#: Kinds of numbers (numpy's letters) that JSON data of a kind may hold.
_ACCEPTED_KINDS = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}


def from_json(name: str, datatype: str, shape: list[int], data: Any) -> NDArray[Any]:
    """Return a tensor from nested or flat JSON data, row-major.

    Raises
    ------
    BadRequestError
        When the data is ragged, has other numbers than the type holds, or too many or too few of them.
    """
    dtype = NUMPY_TYPES[datatype]
    try:
        values = np.asarray(data)
    except ValueError:
        raise BadRequestError(f"The data of input '{name}' is ragged: its lists differ in length.") from None
    if values.size and values.dtype.kind not in _ACCEPTED_KINDS[dtype.kind]:
        raise BadRequestError(f"The data of input '{name}' must be numbers of type {datatype}.")
    if values.dtype.kind != "f" and dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise BadRequestError(f"The data of input '{name}' does not fit into {datatype}.")
    with np.errstate(over="ignore"):  # infinity is refused by `check_finite`
        return _shaped(name, values.astype(dtype), shape)


def from_bytes(name: str, datatype: str, shape: list[int], raw: memoryview) -> NDArray[Any]:
    """Return a tensor from raw little-endian bytes.

    Raises
    ------
    BadRequestError
        When the number of bytes is not that of the shape.
    """
    dtype = NUMPY_TYPES[datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise BadRequestError(f"Input '{name}' has {len(raw)} bytes; its shape {shape} of {datatype} takes {expected}.")
    return np.frombuffer(raw, dtype).reshape(shape)


def check_finite(name: str, values: NDArray[Any]) -> None:
    """Raise BadRequestError for NaN and infinity, on which a model's answer means nothing."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadRequestError(f"Input '{name}' holds NaN or infinity (numbers too large for its type count as such).")


def _shaped(name: str, values: NDArray[Any], shape: list[int]) -> NDArray[Any]:
    if values.size != math.prod(shape):
        raise BadRequestError(f"Input '{name}' has {values.size} values; its shape {shape} takes {math.prod(shape)}.")
    if values.ndim > 1 and values.shape != tuple(shape):
        raise BadRequestError(
            f"The data of input '{name}' is nested as {list(values.shape)}, not as its shape {shape}."
        )
    return values.reshape(shape)
