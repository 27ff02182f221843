"""Telling the hub that an app is used, so that the idle culler lets it run."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import httpx

log = logging.getLogger("armillary.app")

#: Seconds between two reports.
INTERVAL = 60.0


class Activity:
    """Collects the moments of use and reports the last one."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._last: datetime | None = None
        self.visitors = 0

    def used(self) -> None:
        """Note that the app is used now."""
        self._last = datetime.now(UTC)

    async def report(self) -> None:
        """Report for as long as the server runs; an open page counts as use."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while self._url:
                await asyncio.sleep(INTERVAL)
                if self.visitors:
                    self.used()
                if self._last is not None:
                    await self._send(client, self._last)
                    self._last = None

    async def _send(self, client: httpx.AsyncClient, moment: datetime) -> None:
        when = moment.isoformat().replace("+00:00", "Z")
        body = {"servers": {"": {"last_activity": when}}, "last_activity": when}
        try:
            (await client.post(self._url, json=body, headers=self._headers)).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("The hub did not take the app's activity: %s", error)
