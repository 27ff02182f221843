"""The deployment: hub, GPU pool, Dask Gateway, MLflow and apps on one machine or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armillary_hub.configuration import configure

__all__ = ["configure"]


def __getattr__(name: str) -> Any:
    if name == "configure":
        from armillary_hub.configuration import configure

        return configure
    raise AttributeError(f"module 'armillary_hub' has no attribute {name!r}")
