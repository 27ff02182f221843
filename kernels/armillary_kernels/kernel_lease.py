"""The lease of one kernel, as the kernel's own process sees it: asked for, waited for, suspended and got back.

All of it blocks and is done by one thread (`armillary_kernels.gate`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from armillary_kernels.connection import Connection
from armillary_kernels.gpu_environment import uses_cuda
from armillary_kernels.kernel_notes import Note, Order
from armillary_kernels.leases import (
    Lease,
    LeaseError,
    LeaseLostError,
    LeaseRefusedError,
    PoolUnreachableError,
    QueuePlace,
    new_lease_id,
)
from armillary_kernels.processes import Process
from armillary_kernels.texts import translator
from armillary_kernels.waiting import NoGpuFreeError, Wait, WaitInterruptedError
from armillary_kernels.wishes import GpuWish

if TYPE_CHECKING:
    from armillary_kernels.lease_client import LeaseClient

_ = translator(__file__)
_log = logging.getLogger(__name__)

#: How the pool's books begin the reason of a lease that an admin ended.
_RELEASED = "released by"


class KernelLease:
    """The lease of this process.

    Parameters
    ----------
    connection
        The hub.
    order
        What the provisioner told this kernel.
    keep
        Is given each change, to be kept for the provisioner.
    """

    def __init__(self, connection: Connection, order: Order, keep: Callable[[Note], None] = lambda note: None) -> None:
        self._connection = connection
        self._order = order
        self._keep = keep
        self._own = Process.own()
        self._ended: LeaseLostError | None = None
        self._was_usable = order.is_granted
        self._used_cuda = False
        self._is_booked = order.is_booked
        self._left: list[str] = []  # leases that are still to be given back
        self.id = order.lease
        self.wish = order.wish
        self.choice: GpuWish | None = None
        #: What the pool said last.
        self.standing: Lease | QueuePlace | None = None

    @cached_property
    def _pool(self) -> LeaseClient:
        from armillary_kernels.lease_client import LeaseClient  # the first cell of a granted kernel needs none

        return LeaseClient(self._connection)

    @property
    def is_tied(self) -> bool:
        """Whether the pool knows this process as the one that uses the lease's GPUs."""
        standing = self.standing
        return isinstance(standing, Lease) and standing.in_use and standing.holder == self._own

    # For a cell ----------------------------------------------------------------------------------------------

    def obtain(self, wait: Wait) -> Lease:
        """Get the GPUs, waiting if need be; from then on the pool believes this process busy.

        Raises
        ------
        NoGpuFreeError, WaitInterruptedError
            If the wait is over; the place in the queue is given back, a suspended state is kept.
        LeaseRefusedError, LeaseLostError
            If the pool says no.
        PoolUnreachableError
            If it does not answer for too long.
        """
        renewed = False
        while True:
            self.tidy()  # else this process might wait for a GPU that a forgotten ask of its own holds
            try:
                answer = self._advance()
                if isinstance(answer, Lease) and answer.is_usable:
                    self._was_usable = True
                    return answer
                wait.go_on(answer)
            except PoolUnreachableError as silence:
                try:
                    wait.bear(silence)
                except WaitInterruptedError:
                    self.withdraw()
                    raise
            except LeaseLostError as error:
                self._lose(error)
                if renewed or self._ended or error.reason.startswith(_RELEASED):
                    raise
                renewed = True  # nothing of it was used here: ask for another one
            except (NoGpuFreeError, WaitInterruptedError):
                self.withdraw()
                raise

    def is_usable_now(self) -> bool:
        """Return whether something may run without any wait; if so, the pool believes this process busy."""
        if self.id is None or not self.is_tied:
            return False
        try:
            answer = self._see(self._pool.note_activity(self.id, busy=True))
        except LeaseError:
            return False
        return isinstance(answer, Lease) and answer.is_usable

    def withdraw(self) -> None:
        """Leave the queue. A suspended process keeps its state, and asks again when the next cell comes."""
        if self.id is None or (self._is_booked and not isinstance(self.standing, QueuePlace)):
            return
        if isinstance(self.standing, QueuePlace) and self.standing.is_suspended:
            try:
                self._see(self._pool.note_activity(self.id, busy=False))
            except LeaseError as error:
                _log.warning("The place in the queue could not be given up; the pool will notice: %s", error)
            return
        self._left.append(self.id)
        self._hold(None, self.wish)
        if self._is_booked:  # else the pool is silent, and the person who has interrupted waits no longer for it
            self.tidy()

    def choose(self, wish: GpuWish) -> None:
        """Exchange the lease for another one, which may have to be waited for.

        Raises
        ------
        LeaseError
            If the pool refuses or does not answer; everything stays as it was.
        """
        fresh = self._ask_besides(wish) if wish.devices else None
        before, self.choice = self.id, wish
        self._hold(fresh.id if fresh else None, wish)
        self.standing, self._is_booked = fresh, True
        if before is not None:
            self._left.append(before)
            self.tidy()

    def choose_for_restart(self, wish: GpuWish) -> None:
        """Let the kernel that is started in this one's place have other GPUs."""
        self.choice = wish
        self._write()

    # Between cells -------------------------------------------------------------------------------------------

    def look(self) -> Lease | QueuePlace | None:
        """Return how the lease stands, tied to this process where it is not yet; None where there is none.

        Raises
        ------
        LeaseError
            If the pool says no or does not answer.
        """
        if self.id is None:
            return None
        try:
            answer = self._see(self._pool.look(self.id)) if self._is_booked else self._ask_own()
            return answer if isinstance(answer, QueuePlace) or answer.step else self._tie(answer)
        except LeaseLostError as error:
            self._lose(error)
            raise

    def tidy(self) -> None:
        """Give back what is not wanted any more; where the pool does not answer, it is tried again the next time."""
        while self._left:
            try:
                self._pool.give_back(self._left[0])
            except PoolUnreachableError as error:
                _log.info("A lease could not be given back yet: %s", error)
                return
            except LeaseError as error:
                _log.info("A lease had ended before it was given back: %s", error)
            del self._left[0]

    def rest(self) -> None:
        """Say that this process does nothing: when somebody waits, it may be suspended."""
        self.has_used_cuda()  # a suspended process has no device open
        if self.id is not None:
            self._see(self._pool.note_activity(self.id, busy=False))

    def has_used_cuda(self) -> bool:
        """Return whether CUDA is initialised in this process: it then keeps the GPUs that it has, or none."""
        try:
            self._used_cuda = self._used_cuda or uses_cuda()
        except OSError:  # the person's code has used up the file descriptors: who cannot look assumes it
            return True
        return self._used_cuda

    # Within --------------------------------------------------------------------------------------------------

    def _advance(self) -> Lease | QueuePlace:
        """Take the next step towards GPUs."""
        if self._ended is not None:
            raise self._ended
        if self.id is None or not self._is_booked:
            answer = self._ask_own()
        elif self.is_tied:
            answer = self._see(self._pool.note_activity(self.id, busy=True))
        else:
            answer = self._see(self._pool.look(self.id))
        if isinstance(answer, QueuePlace) or answer.step:
            return answer
        if answer.state == "suspended":
            return self._see(self._pool.resume(answer.id))
        answer = self._tie(answer)
        if isinstance(answer, Lease) and answer.is_idle:
            answer = self._see(self._pool.note_activity(answer.id, busy=True))
        return answer

    def _tie(self, lease: Lease) -> Lease | QueuePlace:
        """Tell the pool that this process uses the GPUs, where it does not know; suspended ones it knows."""
        if self.is_tied or lease.state == "suspended":
            return lease
        return self._see(self._pool.bind(lease.id, self._own))

    def _ask_own(self) -> Lease | QueuePlace:
        """Ask for what this kernel is to have; where the answer is lost, the same ask is made again the next time."""
        if self.id is None:
            self._is_booked = False
            self._hold(new_lease_id(), self.wish)
        try:
            answer = self._see(self._ask(self.id or "", self.wish))
        except LeaseRefusedError:
            self._hold(None, self.wish)
            raise
        self._is_booked = True
        return answer

    def _ask_besides(self, wish: GpuWish) -> Lease | QueuePlace:
        """Ask for another lease while one is in force; where the answer is lost, what was asked for is given back."""
        lease_id = new_lease_id()
        try:
            return self._ask(lease_id, wish)
        except PoolUnreachableError:
            self._left.append(lease_id)
            raise

    def _ask(self, lease_id: str, wish: GpuWish) -> Lease | QueuePlace:
        order = self._order
        return self._pool.ask(
            order.purpose, wish.devices, order.label, self._own, memory=wish.memory, lease_id=lease_id
        )

    def _see(self, answer: Lease | QueuePlace) -> Lease | QueuePlace:
        self.standing = answer
        return answer

    def _hold(self, lease_id: str | None, wish: GpuWish) -> None:
        self.id, self.wish = lease_id, wish
        if lease_id is None:
            self.standing = None
        self._write()

    def _write(self) -> None:
        self._keep(Note(self.id, self.wish, self.choice))

    def _lose(self, error: LeaseLostError) -> None:
        """Forget a lease that ended. A process that has used its GPUs may not use them, or others, any more."""
        used = self._was_usable and self.has_used_cuda()
        self._hold(None, self.wish)
        if used:
            what = _("This kernel's GPUs were taken from it: {reason}", reason=error.why or error.what)
            self._ended = LeaseLostError(what, _("Restart the kernel to get others."))
            self._ended.reason = error.reason
