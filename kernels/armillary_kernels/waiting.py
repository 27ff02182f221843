"""Waiting for GPUs, and saying in a person's words why there are none."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from armillary_kernels.connection import Connection
from armillary_kernels.lease_client import (
    AsyncLeaseClient,
    DeviceHolder,
    Lease,
    LeaseError,
    PoolUnreachableError,
    Purpose,
    QueuePlace,
)
from armillary_kernels.processes import Process
from armillary_kernels.reason import Reason
from armillary_kernels.texts import translator

_ = translator(__file__)
_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: Seconds between two questions to the pool.
POLL_INTERVAL = 0.5

#: Seconds in which a pool that died is started again.
RETURN_OF_POOL = 10.0


class NoGpuFreeError(LeaseError):
    """The wait was over before a GPU was free.

    Parameters
    ----------
    place
        The place in the queue at the end.
    waited
        Seconds.
    """

    def __init__(self, place: QueuePlace, waited: float) -> None:
        summary = _("No GPU became free within {seconds:.0f} s.", seconds=waited)
        super().__init__(summary, _("Restart the kernel to ask again."))
        self.place = place


async def obtain(
    connection: Connection,
    *,
    purpose: Purpose,
    devices: int,
    label: str,
    seconds: float,
    report: Callable[[QueuePlace], None] = lambda place: None,
) -> Lease:
    """Get a lease for this process, waiting in the queue if need be.

    Parameters
    ----------
    connection
        The hub.
    purpose, devices, label
        What for, and how many GPUs.
    seconds
        How long to wait in the queue.
    report
        Is told each new place in the queue.

    Returns
    -------
    Lease
        Tied to this process. Bind it within half a minute to the process that uses it.

    Raises
    ------
    NoGpuFreeError
        If the wait is over; the place in the queue is given up.
    PoolUnreachableError, LeaseRefusedError, LeaseLostError
        If the pool does not answer for ten seconds, or says no.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with AsyncLeaseClient(connection) as pool:
        answer = await _patiently(partial(pool.ask, purpose, devices, label, Process.own()))
        try:
            return await _wait(pool, answer, begun + seconds, report)
        except BaseException:
            # Also when the wait is cancelled: the place must not stay taken.
            await asyncio.shield(_leave(pool, answer.id))
            raise


async def _wait(
    pool: AsyncLeaseClient, answer: Lease | QueuePlace, deadline: float, report: Callable[[QueuePlace], None]
) -> Lease:
    loop = asyncio.get_running_loop()
    begun, told = loop.time(), math.inf
    while isinstance(answer, QueuePlace):
        if answer.position != told:
            report(answer)
            told = answer.position
        if loop.time() >= deadline:
            raise NoGpuFreeError(answer, loop.time() - begun)
        await asyncio.sleep(POLL_INTERVAL)
        answer = await _patiently(partial(pool.look, answer.id))
    return answer


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while a pool that died is started anew."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RETURN_OF_POOL
    while True:
        try:
            return await ask()
        except PoolUnreachableError:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(POLL_INTERVAL)


async def _leave(pool: AsyncLeaseClient, lease_id: str) -> None:
    try:
        await pool.give_back(lease_id)
    except LeaseError as error:
        _log.warning("The place in the queue could not be given up; the pool will notice: %s", error)


def explain(error: LeaseError, user: str) -> Reason:
    """Say why there is no GPU, who holds them, and what to do."""
    if isinstance(error, NoGpuFreeError):
        place = error.place
        holders = [_describe(holder, user) for holder in place.holders]
        where = _("Your place in the queue was {position}.", position=place.position)
        return Reason("NoGpuFreeError", error.what, (where, *holders, "", *_advice()))
    if isinstance(error, PoolUnreachableError):
        again = _("Restart the kernel in a minute; if this stays, tell the admin that the GPU pool is down.")
        return Reason(
            "GpuPoolDownError", _("The GPU pool does not answer, so no GPU could be had."), (error.what, again)
        )
    again = _("Restart the kernel to ask again.")
    return Reason("NoGpuError", _("The GPU pool gave no GPU."), (error.what, error.remedy, again))


def announce(place: QueuePlace, user: str, seconds: float) -> None:
    """Tell who follows this module's log, such as `armillary run`, that a kernel waits, and for whom."""
    waits = _(
        "Waiting {seconds:.0f} s at most for a GPU, place {position} in the queue.",
        seconds=seconds,
        position=place.position,
    )
    _log.info("\n".join([waits, *(f"  {_describe(holder, user)}" for holder in place.holders)]))


def _advice() -> tuple[str, ...]:
    return (
        _("What you can do:"),
        "  - " + _("Restart this kernel (Kernel, Restart Kernel) to ask again."),
        "  - " + _("Shut down kernels that you no longer need (the Running tab on the left)."),
        "  - " + _("Run a job that needs no GPU with `armillary run --gpus 0`, or let it wait longer with `--wait`."),
    )


def _describe(holder: DeviceHolder, user: str) -> str:
    devices = ", ".join(str(index) for index in holder.devices)
    since = holder.since.astimezone()
    minutes = max(0, int((datetime.now(UTC) - holder.since).total_seconds() // 60))
    who = _("you") if holder.user == user else holder.user
    text = _(
        "GPU {devices}: {user}, since {since} ({minutes} min)",
        devices=devices,
        user=who,
        since=f"{since:%Y-%m-%d %H:%M}",
        minutes=minutes,
    )
    return f"{text} · {holder.label}" if holder.label else text
