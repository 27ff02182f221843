"""Runs in every scheduler, after Dask Gateway's own preload: takes from the gateway why it ended a worker."""

from __future__ import annotations

from typing import Any

from armillary_kernels.worker_end import TOPIC
from dask_gateway.scheduler_preload import BaseHandler
from tornado import web

from armillary_hub.clusters.memory_watch import PATH


class WorkerEndHandler(BaseHandler):  # type: ignore[misc]
    """Puts the end of a worker into the event log, which every client of the cluster can read."""

    @web.authenticated
    def post(self) -> None:
        """Take ``{"name", "used", "limit"}``: the gateway knows the worker by its name, Dask's clients by address."""
        scheduler = self.gateway_service.scheduler
        address = scheduler.aliases.get(self.json_data["name"], "")
        scheduler.log_event(TOPIC, {"worker": address, **{key: self.json_data[key] for key in ("used", "limit")}})


def dask_setup(scheduler: Any) -> None:
    """Add the route to those that the gateway already calls."""
    scheduler.services["gateway"].app.add_handlers(r".*", [(PATH, WorkerEndHandler)])
