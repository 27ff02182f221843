"""Runs in every scheduler, after Dask Gateway's own preload: takes in why a worker was ended or gets no GPU."""

from __future__ import annotations

from typing import Any

from armillary_kernels.worker_end import REFUSED_TOPIC, TOPIC
from dask_gateway.scheduler_preload import BaseHandler
from tornado import web

from armillary_hub.clusters.scheduler_events import ENDED_PATH, REFUSED_PATH


class WorkerEndHandler(BaseHandler):  # type: ignore[misc]
    """Puts the end of a worker into the event log, which every client of the cluster can read."""

    @web.authenticated
    def post(self) -> None:
        """Take ``{"name", "used", "limit"}``: the gateway knows the worker by its name, Dask's clients by address."""
        scheduler = self.gateway_service.scheduler
        address = scheduler.aliases.get(self.json_data["name"], "")
        scheduler.log_event(TOPIC, {"worker": address, **{key: self.json_data[key] for key in ("used", "limit")}})


class WorkerRefusedHandler(BaseHandler):  # type: ignore[misc]
    """Puts into the event log why a worker gets no GPU."""

    @web.authenticated
    def post(self) -> None:
        """Take ``{"reason"}``."""
        self.gateway_service.scheduler.log_event(REFUSED_TOPIC, {"reason": self.json_data["reason"]})


def dask_setup(scheduler: Any) -> None:
    """Add the routes to those that the gateway already calls."""
    routes = [(ENDED_PATH, WorkerEndHandler), (REFUSED_PATH, WorkerRefusedHandler)]
    scheduler.services["gateway"].app.add_handlers(r".*", routes)
