"""An app's GPU: leased by its server when it starts, as its own hub user, and given back when it sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import time

from armillary_kernels.connection import Connection
from armillary_kernels.lease_client import AsyncLeaseClient
from armillary_kernels.leases import Lease, LeaseError, PoolUnreachableError, QueuePlace, new_lease_id
from armillary_kernels.processes import Process
from armillary_kernels.waiting import NoGpuFreeError

#: Seconds between two looks at the place in the queue.
LOOK_PERIOD = 1.0

#: Seconds for which a wait that failed is not begun again, however many visitors come.
PAUSE = 30.0


class GpuWait:
    """An app's wait for its GPU.

    Parameters
    ----------
    connection
        How the app's server finds the pool.
    label
        What the pool's books call the app.
    seconds
        How long it stands in the queue at most.

    Attributes
    ----------
    asked
        Set once the pool has answered for the first time, or failed to.
    place
        The place in the queue; None while it is not in the queue.
    error
        Why the last wait ended without a GPU; None while one goes on.
    """

    def __init__(self, connection: Connection, label: str, seconds: float) -> None:
        self._connection = connection
        self._label = label
        self.seconds = seconds
        self._again = asyncio.Event()
        self._failed_at = 0.0
        self.asked = asyncio.Event()
        self.place: QueuePlace | None = None
        self.error: LeaseError | None = None

    async def obtain(self) -> Lease:
        """Return the lease, tied to this process; a wait that fails is begun again when somebody visits."""
        while True:
            try:
                return await self._stand_in_line()
            except LeaseError as error:
                self.error, self.place, self._failed_at = error, None, time.monotonic()
            finally:
                self.asked.set()
            self._again.clear()
            await self._again.wait()
            self.error = None

    def visited(self) -> None:
        """Begin again, if the last wait has failed a while ago."""
        if self.error is not None and time.monotonic() - self._failed_at > PAUSE:
            self._again.set()

    async def _stand_in_line(self) -> Lease:
        deadline = time.monotonic() + self.seconds
        lease_id = new_lease_id()
        async with AsyncLeaseClient(self._connection) as pool:
            try:
                answer = await pool.ask("app", 1, self._label, Process.own(), lease_id=lease_id)
                while isinstance(answer, QueuePlace):
                    self.place = answer
                    self.asked.set()
                    if time.monotonic() > deadline:
                        raise NoGpuFreeError(answer, self.seconds)
                    await asyncio.sleep(LOOK_PERIOD)
                    with contextlib.suppress(PoolUnreachableError):  # it is started again; the wait is bounded
                        answer = await pool.look(lease_id)
                return _granted(await pool.bind(lease_id, Process.own()))
            except BaseException:
                # Also when the server ends meanwhile, or no answer came: the place must not stay taken.
                with contextlib.suppress(LeaseError):
                    await asyncio.shield(pool.give_back(lease_id))
                raise


def _granted(answer: Lease | QueuePlace) -> Lease:
    if isinstance(answer, QueuePlace):
        raise PoolUnreachableError("The GPU pool took the GPU back.", "Ask again.")
    return answer
