"""PyTorch networks outside of a rank: packed with cloudpickle, checkpoints loaded as plain tensors only."""

from __future__ import annotations

import copy

import cloudpickle
import numpy as np
import torch
from armillary_kernels.texts import translator
from torch import nn

from armillary.errors import TrainingError
from armillary.training.frameworks import FloatArray

_ = translator(__file__)

CHECKPOINT_SUFFIX = ".pt"


def pack(network: nn.Module) -> bytes:
    """Return the whole module as bytes, on the CPU, leaving the original where it is."""
    try:
        return cloudpickle.dumps(copy.deepcopy(network).cpu())
    except Exception as error:
        raise TrainingError(
            _("The network {name} cannot be sent to the workers: {error}.", name=type(network).__name__, error=error),
            _("Keep open files, locks and generators out of the module."),
        ) from error


def unpack(packed: bytes, example: FloatArray) -> nn.Module:
    """Rebuild a module; lazy layers take their shapes from ``example``, ``(batch, ...)`` float32."""
    network: nn.Module = cloudpickle.loads(packed)
    if any(isinstance(value, nn.parameter.UninitializedParameter) for value in network.parameters()):
        with torch.no_grad():
            network(torch.from_numpy(example))
    return network


def logits(network: nn.Module, x: FloatArray) -> FloatArray:
    """Return the output for ``x``, ``(batch, ...)`` float32, in evaluation mode, whatever device it is on."""
    first = next(network.parameters(), None)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            batch = torch.from_numpy(np.ascontiguousarray(x))
            output = network(batch if first is None else batch.to(first.device))
    finally:
        network.train(was_training)
    return np.asarray(output.detach().cpu().float())


def learns(network: nn.Module) -> bool:
    """Return whether any parameter is trainable."""
    return any(parameter.requires_grad for parameter in network.parameters())


def load_weights(network: nn.Module, path: str) -> None:
    """Put a checkpoint's weights into the network; the file may hold tensors and numbers, never code."""
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["network"])
