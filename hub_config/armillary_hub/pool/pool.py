"""What the pool does: who may ask, who gets a GPU, and how leases come back from those who are gone.

A lease lives as long as its holder, the process (pid and start time) it is tied to. A watcher looks twice a second;
it takes back what a holder left that it found dead in two looks, so that a kernel that is restarted on purpose has time
to hand its lease to the server that restarts it. A lease that nobody uses yet (queued, or granted and not yet bound
to its kernel) must also be heard of, else it ends: an asker that hangs must not keep others waiting.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

from armillary_kernels.processes import Process
from armillary_kernels.texts import translator

from armillary_hub.accounts.unix_accounts import account_of
from armillary_hub.pool.devices import Device, Inventory
from armillary_hub.pool.store import Lease, LeaseStore
from armillary_hub.settings import Settings
from armillary_hub.web.errors import WebError

_ = translator(__file__)

_log = logging.getLogger(__name__)

#: Seconds between two looks of the watcher.
LOOK_INTERVAL = 0.5

#: Seconds without a word after which an ask leaves the queue.
QUEUE_SILENCE = 10.0

#: Seconds without a word after which a granted lease that is not in use ends: a restart takes up to 15.
GRANT_SILENCE = 30.0

#: Seconds for which the list of GPUs is believed.
INVENTORY_AGE = 15.0

#: Seconds that a process gets to end by itself when an admin takes its GPUs.
TERMINATION_GRACE = 5.0

AccountOf = Callable[[str], int]


def accounts(settings: Settings) -> AccountOf:
    """Return the function from a hub user to the uid of the account that the user's processes run as.

    It raises `armillary_hub.accounts.errors.AccountError` for a user without one.
    """
    if settings.mode == "solo":
        own = os.getuid()
        return lambda user: own
    return lambda user: account_of(settings, user).pw_uid


class GpuPool:
    """The pool. Its methods block, and may be called from several threads.

    Parameters
    ----------
    store
        The books.
    inventory
        Where the GPUs are learnt from.
    account_of
        The uid of a hub user's processes.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        store: LeaseStore,
        inventory: Inventory,
        account_of: AccountOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._inventory = inventory
        self._account_of = account_of
        self._clock = clock
        self._lock = threading.RLock()
        self._devices: tuple[Device, ...] = ()
        self._devices_at = -math.inf
        self._has_gpus = False
        self._heard: dict[str, float] = {}
        self._missing: dict[str, Process] = {}

    # What there is ---------------------------------------------------------------------------------------

    def devices(self) -> tuple[Device, ...]:
        """Return the GPUs that work."""
        with self._lock:
            if self._clock() - self._devices_at >= INVENTORY_AGE:
                self._devices = self._inventory.devices()
                self._devices_at = self._clock()
                # A driver that is lost for a while must not send everybody to the CPU.
                self._has_gpus = self._has_gpus or bool(self._devices)
            return self._devices

    def leases(self) -> list[Lease]:
        """Return the leases and asks that stand, in the order in which they were asked for."""
        return self.store.active()

    # What users do ---------------------------------------------------------------------------------------

    def ask(self, user: str, purpose: str, label: str, wanted: int, holder: Process) -> Lease:
        """Ask for GPUs; the lease is granted at once or queued.

        Raises
        ------
        WebError
            422 for more GPUs than there are, or for a holder that is dead; 403 for another account's process.
        """
        self._check_holder(user, holder)
        self._check_wanted(wanted)
        lease = self.store.ask(user, purpose, label, wanted, holder)
        self._hear(lease.id)
        self.grant()
        return self._known(lease.id)

    def look(self, user: str, lease_id: str) -> Lease:
        """Return a user's lease, and note that its asker is there."""
        lease = self._own(user, lease_id)
        if lease.state != "released":
            self._hear(lease_id)
        return lease

    def bind(self, user: str, lease_id: str, holder: Process, in_use: bool) -> Lease:
        """Tie a user's lease to another process of the user."""
        self._own(user, lease_id)
        self._check_holder(user, holder)
        lease = self.store.bind(lease_id, holder, in_use)
        if lease is None:
            raise WebError(HTTPStatus.GONE, "The lease is not granted, so nothing can be tied to it.", "Ask again.")
        self._hear(lease_id)
        return lease

    def give_back(self, user: str, lease_id: str) -> Lease:
        """End a user's own lease."""
        self._own(user, lease_id)
        return self._release(lease_id, user, "given back")

    def take_back(self, admin: str, lease_id: str) -> Lease:
        """End anybody's lease, and the process that uses its GPUs with it.

        A GPU whose user lives on would be used by two. The process gets SIGTERM, then SIGKILL.
        """
        lease = self._known(lease_id)
        if lease.in_use and lease.devices:
            _end(lease.holder)
        return self._release(lease_id, admin, f"released by {admin}")

    # What the watcher does -------------------------------------------------------------------------------

    def watch(self) -> None:
        """Look once: take back what the dead and the silent left, and give it to those who wait."""
        for lease in self.store.active():
            if not lease.holder.is_alive():
                self._found_dead(lease)
                continue
            self._missing.pop(lease.id, None)
            if self._is_silent(lease):
                self._end_if_held(lease, "its asker was not heard of any more")
        self.grant()

    def grant(self) -> None:
        """Give free GPUs to those at the head of the queue."""
        with self._lock:
            devices = self.devices()
            granted = self.store.grant_waiting([one.uuid for one in devices], cpu_only=not self._has_gpus)
        for lease in granted:
            self._hear(lease.id)
            _log.info("%s got %s for %s %s", lease.user, lease.devices or "the CPU", lease.purpose, lease.label)

    def _found_dead(self, lease: Lease) -> None:
        if self._missing.get(lease.id) == lease.holder:
            self._end_if_held(lease, "its process ended")
        else:
            self._missing[lease.id] = lease.holder

    def _is_silent(self, lease: Lease) -> bool:
        if lease.in_use:
            return False
        # After a restart of the pool everybody gets the whole time anew.
        heard = self._heard.setdefault(lease.id, self._clock())
        return self._clock() - heard > (QUEUE_SILENCE if lease.state == "queued" else GRANT_SILENCE)

    def _end_if_held(self, lease: Lease, reason: str) -> None:
        if self.store.release(lease.id, "pool", reason, held_by=lease.holder):
            _log.info("The lease of %s for %s %s ended: %s", lease.user, lease.purpose, lease.label, reason)
            self._forget(lease.id)

    # Within ----------------------------------------------------------------------------------------------

    def _release(self, lease_id: str, actor: str, reason: str) -> Lease:
        self.store.release(lease_id, actor, reason)
        self._forget(lease_id)
        self.grant()
        return self._known(lease_id)

    def _known(self, lease_id: str) -> Lease:
        lease = self.store.get(lease_id)
        if lease is None:
            what = _("There is no lease {id}.", id=lease_id)
            raise WebError(HTTPStatus.NOT_FOUND, what, _("It may have ended; ask again."))
        return lease

    def _own(self, user: str, lease_id: str) -> Lease:
        lease = self.store.get(lease_id)
        # Somebody else's lease looks like none: nobody can find out which ones exist.
        if lease is None or lease.user != user:
            what = _("{user} has no lease {id}.", user=user, id=lease_id)
            raise WebError(HTTPStatus.NOT_FOUND, what, _("Only the holder and admins can do this."))
        return lease

    def _check_holder(self, user: str, holder: Process) -> None:
        account = self._account_of(user)
        owner = holder.owner()
        if owner is None:
            what = f"Process {holder.pid} (started at {holder.start_time}) is not running."
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, "A lease belongs to a living process.")
        if owner != account:
            what = f"Process {holder.pid} is not one of {user}'s."
            raise WebError(HTTPStatus.FORBIDDEN, what, "A lease belongs to a process of its user's account.")

    def _check_wanted(self, wanted: int) -> None:
        count = len(self.devices())
        if self._has_gpus and wanted > count:
            what = _("{n} GPUs were asked for; this machine has {count}.", n=wanted, count=count)
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=count))

    def _hear(self, lease_id: str) -> None:
        self._heard[lease_id] = self._clock()

    def _forget(self, lease_id: str) -> None:
        self._heard.pop(lease_id, None)
        self._missing.pop(lease_id, None)


def queue_of(leases: Sequence[Lease]) -> list[Lease]:
    """Return those that wait, the next in line first."""
    return [lease for lease in leases if lease.state == "queued"]


def _end(process: Process) -> None:
    """End a process, and no other that got its pid."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.is_alive():
                signal.pidfd_send_signal(handle, number)
                _wait_for_end(process)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _wait_for_end(process: Process) -> None:
    deadline = time.monotonic() + TERMINATION_GRACE
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
