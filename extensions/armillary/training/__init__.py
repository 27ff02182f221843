"""Distributed training: `fit` trains a network on the workers of a Dask cluster and returns a `Run`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armillary.training import models
    from armillary.training.fitting import fit
    from armillary.training.panel import panel
    from armillary.training.run import Run, load
    from armillary.training.trained_model import TrainedModel

__all__ = ["Run", "TrainedModel", "fit", "load", "models", "panel"]

_HOMES = {"Run": "run", "TrainedModel": "trained_model", "load": "run", "fit": "fitting", "panel": "panel"}


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("armillary.training.models")
    if name in _HOMES:
        # Kept, because importing the module `panel` leaves the module under the function's name.
        globals()[name] = getattr(importlib.import_module(f"armillary.training.{_HOMES[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module 'armillary.training' has no attribute {name!r}")
