"""Bringing back apps whose server has ended without being asked to.

An app that has run is watched; one that sleeps since the deployment started is left until somebody opens it. An app
with a GPU does not keep it for nobody: unused for a while it is put to sleep, and one that has ended sleeps, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import httpx
from armillary_kernels.errors import ArmillaryError

from armillary_hub.apps.database import App, Database
from armillary_hub.apps.hub_client import HubClient
from armillary_hub.apps.publisher import Publisher
from armillary_hub.settings import Settings

log = logging.getLogger("armillary.apps")

#: Seconds between two looks.
INTERVAL = 3.0

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0


class Watcher:
    """Looks after the apps that should run.

    Parameters
    ----------
    gpu_idle_after
        Seconds without use after which an app with a GPU is put to sleep; 0 for never.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        hub: HubClient,
        publisher: Publisher,
        gpu_idle_after: float = 0.0,
    ) -> None:
        self._gpu_idle_after = gpu_idle_after
        self._database = database
        self._hub = hub
        self._publisher = publisher
        self._awake: set[str] = set()
        self._retries: dict[str, tuple[float, float]] = {}
        self._waking: set[asyncio.Task[bool]] = set()
        self._http = httpx.AsyncClient(base_url=settings.public_url, timeout=10, trust_env=False)

    async def watch(self) -> None:
        """Look, until cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except Exception:  # a locked database, for one: look again later
                    log.exception("The apps cannot be looked after")
                await asyncio.sleep(INTERVAL)
        finally:
            await self._http.aclose()

    async def _look(self) -> None:
        for app in self._database.all():
            try:
                await self._look_after(app)
            except ArmillaryError as error:  # the hub is away; look again later
                log.warning("App %s cannot be looked after: %s", app.name, error)

    async def answers(self, app: App) -> bool:
        """Return whether an app's own server answers (it refuses us, but it answers)."""
        try:
            response = await self._http.get(f"/user/{app.robot}/v2/health/live")
        except httpx.TransportError:
            return False
        # Its own answer, not the one that this service gives for an app that sleeps.
        return response.status_code == 401 and "x-jupyterhub-version" in response.headers

    def wake(self, app: App) -> None:
        """Start an app that does not run, without waiting; from now on it is watched."""
        self._awake.add(app.name)
        if not self._publisher.busy(app.name):
            task = asyncio.create_task(self._publisher.wake(app.name))
            self._waking.add(task)
            task.add_done_callback(self._woken)

    def _woken(self, task: asyncio.Task[bool]) -> None:
        self._waking.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("An app could not be started: %s", error)

    async def _look_after(self, app: App) -> None:
        if app.state == "failed" or self._publisher.busy(app.name):
            return
        if app.state == "starting":  # and nothing starts it: the service ended meanwhile
            await self._hub.server(app.robot)  # so the hub answers
            self._publisher.resume(app)
            return
        if await self.answers(app):
            self._awake.add(app.name)
            self._retries.pop(app.name, None)
            if self._publisher.has_gpu(app) and self._is_unused(await self._hub.server(app.robot)):
                log.info("Nobody uses app %s: it gives its GPU back", app.name)
                await self._put_to_sleep(app)
            return
        model = await self._hub.server(app.robot)
        if model.get("ready"):  # so the hub believes
            self._awake.add(app.name)
        if app.name in self._awake and not model.get("pending"):
            await (self._put_to_sleep(app) if self._publisher.has_gpu(app) else self._bring_back(app))

    def _is_unused(self, model: dict[str, Any]) -> bool:
        """Return whether a running server was idle for long; an app tells the hub once a minute that it is used."""
        used = [datetime.fromisoformat(model[key]) for key in ("started", "last_activity") if model.get(key)]
        if not self._gpu_idle_after or not used or not model.get("ready"):
            return False
        return (datetime.now(UTC) - max(used)).total_seconds() > self._gpu_idle_after

    async def _put_to_sleep(self, app: App) -> None:
        self._awake.discard(app.name)
        await self._publisher.put_to_sleep(app.name)

    async def _bring_back(self, app: App) -> None:
        not_before, pause = self._retries.get(app.name, (0.0, _FIRST_PAUSE))
        if time.monotonic() < not_before:
            return
        log.warning("App %s has ended; starting it again", app.name)
        self._retries[app.name] = (time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE))
        await self._publisher.wake(app.name)
