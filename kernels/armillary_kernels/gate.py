"""The gate before everything of a person's that a kernel runs: open while the kernel's lease is granted and restored.

While the gate is open whatever comes passes at once, and no request is made. Some seconds after the last has left it is
closed and the pool is told that the kernel is idle, so that it may be suspended for others; whoever comes next opens it
again, which waits where it must. One thread speaks with the pool; the kernel's own threads only wait for it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from armillary_kernels.kernel_lease import KernelLease
from armillary_kernels.leases import Lease, LeaseError, PoolUnreachableError, QueuePlace
from armillary_kernels.waiting import Wait
from armillary_kernels.wishes import GpuWish

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Rhythm:
    """When the gate does something by itself, in seconds.

    Attributes
    ----------
    idle_after
        From the last that left to the word that the kernel is idle.
    place
        Between two words to the pool that somebody still waits, while no cell does.
    look
        Between two looks at the lease of an idle kernel.
    """

    idle_after: float = 2.0
    place: float = 2.0
    look: float = 15.0


@dataclass(frozen=True)
class Opening:
    """The gate is being opened: ``done`` ends when it is open, or with the error that says why it stays closed."""

    wait: Wait
    done: Future[None]


class Gate:
    """The gate.

    Parameters
    ----------
    lease
        The kernel's lease.
    is_open
        Whether the lease was granted before the kernel was started.
    wait_seconds
        How long it takes to open at most; None for as long as it takes.
    warn
        Is told when the pool is going to restart the idle kernel, once for each time.
    """

    def __init__(
        self,
        lease: KernelLease,
        *,
        is_open: bool = False,
        wait_seconds: float | None = None,
        warn: Callable[[datetime], None] = lambda at: None,
        rhythm: Rhythm = Rhythm(),
    ) -> None:
        self.lease = lease
        self._wait_seconds = wait_seconds
        self._warn = warn
        self._warned: datetime | None = None
        self._told_lost: set[int] = set()
        self._rhythm = rhythm
        self._lock = threading.Lock()
        self._open = is_open or not lease.wish.devices
        #: Whether anything of the person's may have run already.
        self.was_open = self._open
        self._inside = 0
        self._left = self._acted = time.monotonic()
        self._opening: Opening | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        #: What the process's environment must say since the last grant; None while that is known.
        self.environment: dict[str, str] | None = None
        if lease.wish.devices:
            self._start()

    # What the kernel does --------------------------------------------------------------------------------

    def enter(self) -> bool:
        """Pass if the gate is open; who has passed must leave."""
        with self._lock:
            self._inside += self._open
            return self._open

    def leave(self) -> None:
        """Say that what passed is done."""
        with self._lock:
            self._inside -= 1
            self._left = time.monotonic()

    def opening(self) -> Opening:
        """Begin to open the gate, or join those who wait for it already."""
        with self._lock:
            if self._opening is None or self._opening.done.done():
                wait = Wait(self._wait_seconds)
                self._opening = Opening(wait, self._do(lambda: self._open_for(wait)))
            return self._opening

    def open_if_usable(self) -> Future[bool]:
        """Open the gate if that needs no wait, and say whether it is open."""
        with self._lock:
            if self._opening is not None and not self._opening.done.done():
                refused: Future[bool] = Future()
                refused.set_result(False)
                return refused
            return self._do(self._open_now)

    def stop_waiting(self) -> None:
        """End the wait of all who wait for the gate to open."""
        if self._opening is not None:
            self._opening.wait.cancel()

    def look(self) -> Future[Lease | QueuePlace | None]:
        """Learn how the lease stands."""
        return self._do(self.lease.look)

    def fresh_losses(self) -> list[int]:
        """Return those of the lease's GPUs that were lost since this was asked last, as far as the pool has said."""
        standing = self.lease.standing
        before, self._told_lost = self._told_lost, set(standing.lost if isinstance(standing, Lease) else ())
        return sorted(self._told_lost - before)

    def choose(self, wish: GpuWish) -> Future[None]:
        """Exchange the lease; the gate is closed until the new one is granted."""
        return self._do(lambda: self._choose(wish))

    def choose_for_restart(self, wish: GpuWish) -> Future[None]:
        """Let the next kernel have other GPUs."""
        return self._do(lambda: self.lease.choose_for_restart(wish))

    def stop(self) -> None:
        """Say nothing more to the pool."""
        self._jobs.put(None)

    # What the thread does --------------------------------------------------------------------------------

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="GPU lease", daemon=True)
        self._thread.start()

    def _do(self, task: Callable[[], Answer]) -> Future[Answer]:
        future: Future[Answer] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)

        self._jobs.put(job)
        if self._thread is None:
            self._start()
        return future

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=min(1.0, self._rhythm.idle_after, self._rhythm.place))
            except queue.Empty:
                job = self._tick
            if job is None:
                return
            try:
                job()
            except Exception:  # a thread that ended would leave every later cell waiting
                _log.exception("The GPU lease could not be seen to; it is tried again")

    def _open_for(self, wait: Wait) -> None:
        if not self._open:
            self._opened(self.lease.obtain(wait))

    def _open_now(self) -> bool:
        if not self._open and self.lease.is_usable_now():
            self._set(open_=True)
        return self._open

    def _opened(self, lease: Lease) -> None:
        self.environment = dict(lease.environment)
        self._set(open_=True)

    def _choose(self, wish: GpuWish) -> None:
        self.lease.choose(wish)
        if wish.devices:
            self._set(open_=False)
        else:
            self.environment = {}
            self._set(open_=True)

    def _set(self, *, open_: bool) -> None:
        with self._lock:
            self._turn(open_=open_)
            self.was_open |= open_
            self._left = time.monotonic()

    def _turn(self, *, open_: bool) -> None:
        """Open or close it. Behind a closed gate the garbage collector leaves what the person has made alone.

        It runs in whichever thread allocates, and might free memory of a GPU that this process does not have.
        """
        if self._open and not open_:
            gc.freeze()
        elif open_ and not self._open:
            gc.unfreeze()
        self._open = open_

    def _tick(self) -> None:
        """Do what is due between cells; what the pool refuses then, the next cell says."""
        try:
            with contextlib.suppress(PoolUnreachableError):
                self._act()
        except LeaseError as error:
            _log.warning("%s", error)
            self._set(open_=self._open and self.lease.id is not None)

    def _act(self) -> None:
        now = time.monotonic()
        self.lease.tidy()
        if not self.lease.wish.devices or self.lease.id is None:
            return
        if self._open:
            if not self.lease.is_tied:
                self.lease.look()
            if self._close_if_left():
                self.lease.rest()
        elif now - self._acted >= (self._rhythm.look if self.lease.is_tied else self._rhythm.place):
            self._acted = now
            self._look()

    def _close_if_left(self) -> bool:
        """Close the gate when nobody has been inside for a while."""
        with self._lock:
            long_ago = time.monotonic() - self._left >= self._rhythm.idle_after
            if self._inside or not long_ago:
                return False
            self._turn(open_=False)
            self._acted = time.monotonic()
            return True

    def _look(self) -> None:
        """See how the lease of a kernel stands that has nothing to do."""
        was_tied = self.lease.is_tied
        lease = self.lease.look()
        if not isinstance(lease, Lease) or not lease.is_usable:
            return
        if not was_tied:
            self._opened(lease)  # its turn came, though no cell waits; it may be lent again soon
        elif not lease.is_idle:
            self.lease.rest()
        if lease.restart_at is not None and lease.restart_at != self._warned:
            self._warned = lease.restart_at
            self._warn(lease.restart_at)
