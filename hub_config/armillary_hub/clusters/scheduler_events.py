"""What the gateway tells a scheduler for the event log that its owner's notebooks read (`worker_end_preload`)."""

from __future__ import annotations

import asyncio
from typing import Any

#: Where a scheduler takes it in, next to Dask Gateway's ``/api/comm`` and with the same token.
ENDED_PATH, REFUSED_PATH = "/api/armillary/worker-ended", "/api/armillary/worker-refused"

#: Seconds in which a scheduler takes it in.
PATIENCE = 10.0


async def tell_scheduler(backend: Any, cluster: Any, path: str, told: dict[str, Any]) -> None:
    """Tell a cluster's scheduler something; whatever ails the scheduler, the gateway goes on."""
    try:
        async with asyncio.timeout(PATIENCE):
            await backend.session.post(
                f"{cluster.api_address}{path}",
                json=told,
                headers={"Authorization": f"token {cluster.token}"},
                raise_for_status=True,
            )
    except Exception as error:
        backend.log.warning("The scheduler of %s could not be told %s: %r", cluster.name, told, error)
