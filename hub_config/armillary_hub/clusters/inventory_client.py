"""The front's look into the gateway: whose each cluster is, and where its dashboard listens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from armillary_hub.clusters.inventory import PATH
from armillary_hub.settings import Settings
from armillary_hub.web.errors import WebError

#: Seconds for which an answer is used again.
_FRESH = 1.0

#: Seconds for which the last answer still opens dashboards while the gateway is away.
_USABLE = 120.0


@dataclass(frozen=True)
class ClusterEntry:
    """A cluster, as the gateway describes it (`armillary_hub.clusters.inventory.describe`)."""

    name: str
    user: str
    status: str
    workers: int
    threads: int
    memory: int
    started: int
    dashboard: Path | None


class Inventory:
    """The gateway's clusters.

    Parameters
    ----------
    settings
        The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.port_of('gateway-server')}",
            headers={"Authorization": f"token {settings.secret('gateway-front')}"},
            timeout=10,
            trust_env=False,
        )
        self._entries: dict[str, ClusterEntry] = {}
        self._read_at = float("-inf")

    async def clusters(self, usable: float = _FRESH) -> dict[str, ClusterEntry]:
        """Return all clusters by name.

        Parameters
        ----------
        usable
            Seconds for which the last answer may stand in for a gateway that is away.

        Raises
        ------
        WebError
            503 when the gateway does not answer.
        """
        age = time.monotonic() - self._read_at
        if age < _FRESH:
            return self._entries
        try:
            answer = (await self._http.get(PATH)).raise_for_status().json()
        except httpx.HTTPError as error:
            if age < usable:
                return self._entries
            raise _away() from error
        self._entries = {entry["name"]: _entry(entry) for entry in answer}
        self._read_at = time.monotonic()
        return self._entries

    async def find(self, name: str) -> ClusterEntry | None:
        """Return a cluster, also when the gateway has just gone away."""
        return (await self.clusters(_USABLE)).get(name)

    async def stop(self, name: str) -> None:
        """Stop a cluster.

        Raises
        ------
        WebError
            503 when the gateway does not answer.
        """
        try:
            (await self._http.delete(f"{PATH}/{name}")).raise_for_status()
        except httpx.HTTPError as error:
            raise _away() from error
        self._read_at = float("-inf")

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()


def _entry(described: dict[str, Any]) -> ClusterEntry:
    dashboard = described.pop("dashboard")
    return ClusterEntry(**described, dashboard=Path(dashboard) if dashboard else None)


def _away() -> WebError:
    return WebError(503, "Dask Gateway does not answer.", "It restarts by itself: try again in a moment.")
