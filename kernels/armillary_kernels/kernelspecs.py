"""The kernels that JupyterLab offers: those that the GPU pool of this machine can never serve are hidden.

A notebook that names a hidden one still starts it, and its first cell says what there is.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager

from armillary_kernels.connection import Connection
from armillary_kernels.errors import ArmillaryError
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.wishes import GpuWish, GpuWishError

#: Seconds for which what the pool has is believed.
_AGE = 60.0


class PoolKernelSpecManager(KernelSpecManager):
    """JupyterLab's list of kernels, without those that ask for more GPUs, or larger ones, than there are."""

    _looked: float | None = None
    _memories: tuple[int, ...] | None = None

    async def get_all_specs(self) -> dict[str, Any]:  # type: ignore[override] # Jupyter Server waits for either
        """Return the kernels to choose from."""
        specs = super().get_all_specs()
        memories = await self._gpu_memories()
        if memories is None:
            return specs
        return {name: one for name, one in specs.items() if is_possible(one["spec"].get("metadata", {}), memories)}

    async def _gpu_memories(self) -> tuple[int, ...] | None:
        """Return the MiB of each GPU; None where the pool does not say."""
        now = time.monotonic()
        if self._looked is None or now - self._looked > _AGE:
            # In a thread: a pool that hangs must not hang all of the server.
            self._looked, self._memories = now, await asyncio.to_thread(_ask)
        return self._memories


def _ask() -> tuple[int, ...] | None:
    try:
        connection = Connection.from_environment()
        if connection is None:
            return None
        with LeaseClient(connection) as pool:
            return pool.gpu_memories()
    except ArmillaryError:
        return None


def is_possible(metadata: dict[str, Any], memories: tuple[int, ...]) -> bool:
    """Return whether a kernelspec's wish could be served by GPUs of these sizes in MiB.

    One whole GPU always can: on a machine without any, such a kernel runs without. A wish that cannot be read is not
    hidden: its kernel's start says what is wrong.
    """
    try:
        config = metadata.get("kernel_provisioner", {}).get("config", {})
        if memory := config.get("gpu_memory"):
            wanted = GpuWish.parse(memory).memory or 0
            return any(wanted <= one for one in memories)
        return int(config.get("gpus", 0)) <= max(1, len(memories))
    except (GpuWishError, AttributeError, TypeError, ValueError):
        return True
