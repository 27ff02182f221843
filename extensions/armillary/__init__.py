"""Armillary in a notebook: datasets, Dask clusters, training, evaluation and publishing.

Rooms load on first use, so that ``import armillary`` costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armillary import datasets, errors, evaluation, inference, jobs, publishing, training
    from armillary.clusters import cluster
    from armillary.gpu_pool import gpus

__all__ = ["cluster", "datasets", "errors", "evaluation", "gpus", "inference", "jobs", "publishing", "training"]

#: What is a function of a room, rather than a room.
_FUNCTIONS = {"cluster": "armillary.clusters", "gpus": "armillary.gpu_pool"}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in __all__:
        return importlib.import_module(f"armillary.{name}")
    raise AttributeError(f"module 'armillary' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
