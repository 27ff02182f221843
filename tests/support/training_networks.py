"""Networks as a person might write them in a notebook: their classes are not importable on the workers."""

from __future__ import annotations

import os
import sys
import time

import cloudpickle
import torch
from torch import nn

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Perceptron(nn.Module):
    """Takes its time for each batch, so that a test can step in; 10 classes of 8x8 images."""

    def __init__(self, pause: float = 0.0, outputs: int = 10) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.pause = pause
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if "RANK" in os.environ:
            time.sleep(self.pause)
        return self.layers(x)


class FailsOnSecondRank(Perceptron):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if os.environ.get("RANK") == "1" and self.calls > 3:
            print("about to fail", flush=True)
            raise ZeroDivisionError("no third batch on the second rank")
        return super().forward(x)
