"""Dask clusters for every user: Dask Gateway as a hub service, with limits per person and dashboards behind sign-in."""

from __future__ import annotations

from armillary_hub.clusters.configuration import configure

__all__ = ["configure"]
