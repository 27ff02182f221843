"""A PyTorch network as ONNX."""

from __future__ import annotations

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
    module = _Probabilities(network).eval()
    # Not 1: the exporter takes a batch of one for a constant.
    example = torch.zeros(2, *shape)
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
