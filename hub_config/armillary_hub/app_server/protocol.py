"""Requests and answers of the Open Inference Protocol v2, in JSON and with Triton's binary tensors.

Sources: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from armillary_hub.app_server.model import OnnxModel, Tensors, TensorSpec
from armillary_hub.app_server.refusals import BadRequestError
from armillary_hub.app_server.tensors import NUMPY_TYPES, check_finite, from_bytes, from_json

HEADER_LENGTH = "Inference-Header-Content-Length"

_Size = Annotated[int, Field(ge=0, strict=True)]


class _InputTensor(BaseModel):
    name: str
    datatype: str
    shape: list[_Size]
    parameters: dict[str, Any] = {}
    data: Any = None


class _OutputTensor(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class _InferenceRequest(BaseModel):
    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[_InputTensor] = Field(min_length=1)
    outputs: list[_OutputTensor] | None = None


@dataclass(frozen=True)
class Inference:
    """A request that the model can answer: its ``inputs``, and which outputs it wants, each in JSON or binary."""

    id: str | None
    inputs: Tensors
    outputs: tuple[tuple[str, bool], ...]


def read(body: bytes, header_length: str | None, model: OnnxModel) -> Inference:
    """Return the request in ``body``, checked against the model.

    Parameters
    ----------
    body
        JSON, and after ``header_length`` bytes of it the binary tensors in the order of the inputs.
    header_length
        The value of ``Inference-Header-Content-Length``, or None when the whole body is JSON.

    Raises
    ------
    BadRequestError
        Says what is wrong, with names, shapes and types.
    """
    header, binary = _split(body, header_length)
    request = _parse(header)
    inputs: Tensors = {}
    for tensor in request.inputs:
        spec = _input_spec(model, tensor)
        if tensor.name in inputs:
            raise BadRequestError(f"Input '{tensor.name}' is given twice.")
        inputs[tensor.name], binary = _values(tensor, spec, model, binary)
    if missing := [spec.name for spec in model.inputs if spec.name not in inputs]:
        raise BadRequestError(f"Input {_listed(missing)} is missing.")
    if len(binary):
        raise BadRequestError(f"The body ends with {len(binary)} bytes that belong to no input.")
    return Inference(request.id, inputs, _wanted(request, model))


def write(inference: Inference, outputs: Tensors, model_name: str, version: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of the answer."""
    binary: list[bytes] = []
    described = [
        _described(name, outputs[name], binary if as_binary else None) for name, as_binary in inference.outputs
    ]
    answer: dict[str, Any] = {"model_name": model_name, "model_version": version, "outputs": described}
    if inference.id is not None:
        answer["id"] = inference.id
    header = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return header, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return b"".join((header, *binary)), headers


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    # Python refuses to read a number of thousands of digits, in its own way.
    if not re.fullmatch("[0-9]{1,18}", header_length) or int(header_length) > len(body):
        raise BadRequestError(f"{HEADER_LENGTH} is {header_length[:40]!r}; the body has {len(body)} bytes.")
    end = int(header_length)
    return body[:end], memoryview(body)[end:]


def _parse(header: bytes) -> _InferenceRequest:
    try:
        values = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"The request is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise BadRequestError("The request must be a JSON object with the key 'inputs'.")
    try:
        return _InferenceRequest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRequestError(f"The request's '{place}' is wrong: {first['msg']}.") from None


def _input_spec(model: OnnxModel, tensor: _InputTensor) -> TensorSpec:
    for spec in model.inputs:
        if spec.name == tensor.name:
            break
    else:
        known = _listed([spec.name for spec in model.inputs])
        raise BadRequestError(f"The model has no input '{tensor.name}'; it takes {known}.")
    if tensor.datatype != spec.datatype:
        raise BadRequestError(f"Input '{spec.name}' takes {spec.datatype}, not {tensor.datatype}.")
    model.check_shape(spec, tensor.shape)
    return spec


def _values(
    tensor: _InputTensor, spec: TensorSpec, model: OnnxModel, binary: memoryview
) -> tuple[NDArray[Any], memoryview]:
    """Return the input's values and the binary data that is left."""
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if tensor.data is None:
            raise BadRequestError(f"Input '{spec.name}' has neither 'data' nor the parameter 'binary_data_size'.")
        values = from_json(spec.name, spec.datatype, tensor.shape, tensor.data)
    else:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary):
            raise BadRequestError(f"Input '{spec.name}' announces {size} bytes; {len(binary)} are left in the body.")
        values = from_bytes(spec.name, spec.datatype, tensor.shape, binary[:size])
        binary = binary[size:]
    check_finite(spec.name, values)
    return values, binary


def _wanted(request: _InferenceRequest, model: OnnxModel) -> tuple[tuple[str, bool], ...]:
    default = request.parameters.get("binary_data_output") is True
    known = [spec.name for spec in model.outputs]
    if not request.outputs:
        return tuple((name, default) for name in known)
    for output in request.outputs:
        if output.name not in known:
            raise BadRequestError(f"The model has no output '{output.name}'; it gives {_listed(known)}.")
    return tuple((output.name, output.parameters.get("binary_data", default) is True) for output in request.outputs)


def _described(name: str, values: NDArray[Any], binary: list[bytes] | None) -> dict[str, Any]:
    datatype = next(known for known, dtype in NUMPY_TYPES.items() if dtype == values.dtype)
    described: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if binary is None:
        described["data"] = _json_data(name, values)
    else:
        raw = np.ascontiguousarray(values).tobytes()
        described["parameters"] = {"binary_data_size": len(raw)}
        binary.append(raw)
    return described


def _json_data(name: str, values: NDArray[Any]) -> Any:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadRequestError(f"The model's output '{name}' holds NaN or infinity, which JSON cannot carry.")
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.astype(np.float32) if flat.dtype == np.float16 else flat


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
