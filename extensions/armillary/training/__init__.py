"""Distributed training: `fit` trains a network on the workers of a Dask cluster and returns a `Run`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armillary.training import models
    from armillary.training.fitting import fit
    from armillary.training.run import Run, load
    from armillary.training.trained_model import TrainedModel
    from armillary.training.training_panel import panel

__all__ = ["Run", "TrainedModel", "fit", "load", "models", "panel"]

_HOMES = {"Run": "run", "TrainedModel": "trained_model", "load": "run", "fit": "fitting", "panel": "training_panel"}


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("armillary.training.models")
    if name in _HOMES:
        return getattr(importlib.import_module(f"armillary.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'armillary.training' has no attribute {name!r}")
