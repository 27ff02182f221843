"""The release's ONNX model in one ONNX Runtime session."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from armillary_kernels.errors import ArmillaryError
from numpy.typing import NDArray

from armillary_hub.app_server.refusals import BadRequestError
from armillary_hub.app_server.tensors import PROTOCOL_TYPES

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: ``shape`` holds -1 where any size goes."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the protocol's model metadata lists it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


#: What ONNX Runtime calls its way to an NVIDIA GPU.
_CUDA = "CUDAExecutionProvider"


def can_use_gpu() -> bool:
    """Return whether the installed ONNX Runtime was built for NVIDIA GPUs."""
    return _CUDA in onnxruntime.get_available_providers()


class OnnxModel:
    """A model that answers on the processor or a GPU; the session's threads sleep between requests.

    Parameters
    ----------
    path
        The ONNX file.
    threads
        Threads for one request's arithmetic; default: half the processors, at most 4.
    on_gpu
        Whether it is to answer on the first GPU that this process sees. Where ONNX Runtime knows no GPUs, which only a
        deployment with pretend ones lets an app come to, the processor stands in.

    Raises
    ------
    ArmillaryError
        When ONNX Runtime cannot load the file or a tensor's type is not in the protocol.
    """

    def __init__(self, path: Path, threads: int | None = None, *, on_gpu: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or max(1, min(4, len(os.sched_getaffinity(0)) // 2))
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        wanted = [_CUDA] if on_gpu and can_use_gpu() else []
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[*wanted, "CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise ArmillaryError(f"{path} cannot be loaded: {error}.", "Publish the model again.") from error
        if wanted and _CUDA not in self._session.get_providers():
            # It would go on on the processor, and only its log would say so.
            raise ArmillaryError("ONNX Runtime does not get to the GPU.", "The app's log says which library it lacks.")
        self.inputs = tuple(_spec(argument) for argument in self._session.get_inputs())
        self.outputs = tuple(_spec(argument) for argument in self._session.get_outputs())
        self.batches = all(spec.shape[:1] == (-1,) for spec in (*self.inputs, *self.outputs))

    def run(self, inputs: Tensors) -> Tensors:
        """Return all outputs for checked inputs.

        Raises
        ------
        BadRequestError
            When the graph itself refuses the values.
        """
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, inputs), strict=True))
        except Exception as error:  # as above
            raise BadRequestError(f"The model cannot take these inputs: {str(error).splitlines()[0]}.") from error

    def check_shape(self, spec: TensorSpec, shape: list[int]) -> None:
        """Raise BadRequestError when ``shape`` is not one that the input takes."""
        fits = len(shape) == len(spec.shape) and all(
            wanted in (-1, size) for wanted, size in zip(spec.shape, shape, strict=True)
        )
        if not fits or 0 in shape:
            raise BadRequestError(f"Input '{spec.name}' takes shape {list(spec.shape)} (-1: any size), not {shape}.")


def _spec(argument: Any) -> TensorSpec:
    if argument.type not in PROTOCOL_TYPES:
        raise ArmillaryError(
            f"The model's '{argument.name}' is a {argument.type}.", "Only plain tensors can be served."
        )
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    return TensorSpec(argument.name, PROTOCOL_TYPES[argument.type], shape)
