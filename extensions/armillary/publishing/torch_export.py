"""A PyTorch network as ONNX."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

OPSET = 20


class _Probabilities(torch.nn.Module):
    """The network with the softmax that turns its logits into probabilities."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name of the graph's input)
        return torch.softmax(self.network(input), dim=-1)


def export_torch(network: Any, shape: tuple[int, ...], path: Path) -> None:
    """Write ``network`` as ONNX into one file; examples have ``shape``, the batch any size."""
    module = _Probabilities(copy.deepcopy(network).cpu()).eval()
    # Not 1: the exporter takes a batch of one for a constant.
    example = torch.zeros(2, *shape)
    with _quiet(), _triton_kept_out():
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["probabilities"],
            dynamic_shapes={"input": {0: torch.export.Dim("batch")}},
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def _triton_kept_out() -> Iterator[None]:
    """Keep the exporter from loading Triton after TensorFlow: their LLVMs clash, and the process would crash.

    An export needs no Triton. In the other order both load well.
    """
    if "tensorflow" not in sys.modules or "triton" in sys.modules:
        yield
        return
    sys.modules["triton"] = None  # type: ignore[assignment] # what makes an import fail
    try:
        yield
    finally:
        del sys.modules["triton"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own progress out of the notebook."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
