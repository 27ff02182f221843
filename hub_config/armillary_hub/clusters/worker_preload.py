"""Runs in every worker: it has no HTTP server, which any account of the machine could read."""

from __future__ import annotations

from typing import Any


def dask_setup(worker: Any) -> None:
    """Close the worker's HTTP server."""
    worker.http_server.stop()
    worker.services.pop("dashboard", None)
