"""When a cluster counts as idle, in its scheduler: not while it waits for its first worker, which may take hours.

Dask Gateway itself would stop a cluster whose workers stand in the queue for GPUs. Once a worker is there its GPUs are
held, so a cluster without tasks is idle then, even if other workers are still waited for.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from dask_gateway.scheduler_preload import GatewaySchedulerService

_log = logging.getLogger(__name__)


def teach_waiting() -> None:
    """Let the schedulers of this process wait for workers."""
    GatewaySchedulerService.check_idle = check_idle


async def check_idle(service: Any) -> None:
    """Stop the cluster when it has been idle for its idle timeout."""
    busy = service.loop.time()
    while True:
        await asyncio.sleep(service.idle_timeout / 4)
        busy = max(busy, _last_action(service.scheduler))
        if is_busy(service):
            busy = service.loop.time()
        elif service.loop.time() - busy > service.idle_timeout:
            _log.warning("Cluster has been idle for %.2f seconds, shutting down", service.idle_timeout)
            await service.gateway.shutdown()


def is_busy(service: Any) -> bool:
    """Return whether there is work, or no worker yet of those that were asked for."""
    scheduler = service.scheduler
    working = any(state.processing for state in scheduler.workers.values())
    return working or bool(scheduler.unrunnable) or (service.count > 0 and not service.active_workers)


def _last_action(scheduler: Any) -> float:
    return float(scheduler.transition_log[-1][-1] if scheduler.transition_log else scheduler.time_started)
