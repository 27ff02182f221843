"""What the pool does: who may ask, who gets a GPU, and how leases come back from those who are gone.

A lease lives as long as its holder, the process (pid and start time) it is tied to. A watcher looks twice a second;
it takes back what a holder left that it found dead in two looks, so that a kernel that is restarted on purpose has time
to hand its lease to the server that restarts it. A lease that nobody uses yet (queued, or granted and not yet bound
to its kernel) must also be heard of, else it ends: an asker that hangs must not keep others waiting.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus

from armillary_kernels.processes import Process
from armillary_kernels.texts import translator
from armillary_kernels.together import Together

from armillary_hub.apps.owner import AppOwner
from armillary_hub.pool.device_books import DeviceBooks
from armillary_hub.pool.devices import Inventory, NvmlSilentError
from armillary_hub.pool.enforcement import Enforcement
from armillary_hub.pool.idleness import Idleness
from armillary_hub.pool.machine import AccountOf, Machine, ThisMachine
from armillary_hub.pool.policy import PolicyStore
from armillary_hub.pool.quotas import quota_of
from armillary_hub.pool.records import SERVICES, BookedDevice, Lease
from armillary_hub.pool.repeats import GivenUp, check_asker
from armillary_hub.pool.restarts import Restarts
from armillary_hub.pool.samples import SampleLog, Sampler
from armillary_hub.pool.scheduling import decide
from armillary_hub.pool.situation import Situation
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspender import NoSuspender, Suspender
from armillary_hub.pool.suspension import Suspensions
from armillary_hub.web.errors import WebError

_ = translator(__file__)

_log = logging.getLogger(__name__)

#: Seconds between two looks of the watcher.
LOOK_INTERVAL = 0.5

#: Seconds without a word after which an ask, or a granted lease that is not in use, ends. Where forty kernels start at
#: once on few processors, it takes half of it until they look after their places.
SILENCE = 60.0

#: Seconds for which the list of GPUs is believed.
INVENTORY_AGE = 15.0

#: Seconds between two samples of what the GPUs do.
SAMPLE_INTERVAL = 5.0


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
    machine
        What is asked about processes.
    suspender
        How idle processes are suspended.
    start
        How a long task is started: by default each in a thread of its own.
    may_end
        Whether processes of a uid are ended when they use a GPU without a lease; None to end none.
    owner_of
        The owner of the app that a hub user is, or None: an app's leases are its owner's.
    """

    def __init__(
        self,
        store: LeaseStore,
        inventory: Inventory,
        account_of: AccountOf,
        *,
        machine: Machine | None = None,
        suspender: Suspender | None = None,
        start: Callable[[Callable[[], None]], None] | None = None,
        may_end: Callable[[int], bool] | None = None,
        owner_of: Callable[[str], AppOwner | None] = lambda user: None,
    ) -> None:
        self.store = store
        self.owner_of = owner_of
        self.policy = PolicyStore(store.database)
        self.samples = SampleLog()
        self._sampler = Sampler(inventory, store, self.samples)
        self._books = DeviceBooks(store)
        self._inventory = inventory
        self._account_of = account_of
        self._machine = machine or ThisMachine()
        self._suspender = suspender or NoSuspender()
        idleness = Idleness(self.samples, store.clock, store.rules.idle_after)
        self._suspensions = Suspensions(store, self._suspender, self._machine, self.grant, idleness, start)
        self._restarts = Restarts(store, self._suspensions)
        self.enforcement = Enforcement(store, self.samples, self._machine, may_end)
        self._clock = store.clock.monotonic
        self._lock = threading.RLock()
        self._looked = False
        self._heard: dict[str, float] = {}
        self._missing: dict[str, Process] = {}
        self._given_up = GivenUp()

    # What there is ---------------------------------------------------------------------------------------

    def look_at_devices(self) -> None:
        """Ask which GPUs there are, and write it down. Where NVML gives no answer, no GPU is given to anybody."""
        try:
            found = self._inventory.devices()
        except NvmlSilentError as error:
            changes = self._books.fail_all(str(error))
        else:
            changes = self._books.see(found, anew=not self._looked)
        self._looked = True
        for change in changes:
            device = change.device
            _log.log(
                logging.INFO if device.state == "working" else logging.WARNING,
                "GPU %d (%s, %s) is %s. %s",
                *(device.index, device.uuid, device.name, device.state, device.trouble),
            )

    def devices(self) -> list[BookedDevice]:
        """Return the GPUs that the books know, those in trouble too."""
        self._look_first()
        return self._books.all()

    def take_sample(self) -> None:
        """Note in `samples` what the GPUs do now, and in `enforcement` who does it without a lease."""
        self._sampler.take()
        self.enforcement.look()

    @property
    def suspends(self) -> bool:
        """Whether idle processes can be suspended on this machine at all."""
        return self._suspender.problem is None

    def situation(self) -> Situation:
        """Return the books as the scheduler sees them."""
        return self.store.situation(moves=self._suspender.moves)

    # What users do ---------------------------------------------------------------------------------------

    def ask(
        self,
        user: str,
        purpose: str,
        label: str,
        wanted: int,
        holder: Process,
        *,
        memory: int | None = None,
        groups: Sequence[str] = (),
        asked_by: str = "",
        together: Together | None = None,
        lease_id: str | None = None,
    ) -> Lease:
        """Ask for whole GPUs, or for ``memory`` MiB of one; the lease is granted at once or queued.

        Asks that belong ``together`` are granted in one round; see `armillary_hub.pool.together`.
        A service that asks for a user (``asked_by="services/<name>"``) holds the place in the queue itself, and an app
        (``asked_by="app-<name>"``) the lease of its owner.
        An ask that comes again, with the id that its asker chose, is answered with the lease as it stands.

        Raises
        ------
        WebError
            422 for more than there is or than the user's quota allows, or for a holder that is dead; 403 for another
            account's process; 409 for an id of somebody else's.
        """
        if lease_id and self.store.get(lease_id) is not None:
            return self._repeated(lease_id, user, asked_by or user)
        self._check_holder(user, asked_by or user, holder)
        gpus = wanted * (together.size if together else 1)
        self._check_wanted(gpus, memory)
        self._check_quota(user, groups, gpus, memory)
        asked = (user, purpose, label, wanted, holder, together)
        lease = self.store.ask(*asked, memory=memory, groups=groups, asked_by=asked_by, lease_id=lease_id)
        self.grant()
        return self._repeated(lease.id, user, asked_by or user)

    def look(self, user: str, lease_id: str) -> Lease:
        """Return a user's lease, and note that its asker is there."""
        lease = self._own(user, lease_id)
        if lease.state != "released":
            self._hear(lease_id)
        return lease

    def bind(self, user: str, lease_id: str, holder: Process, in_use: bool) -> Lease:
        """Tie a lease to another process of its user's, or of who asked for it: of a service while nothing uses it."""
        self._check_holder(self._own(user, lease_id).user, user, holder, in_use)
        lease = self.store.bind(lease_id, holder, in_use)
        if lease is None:
            what = "The lease is suspended or has ended, so nothing can be tied to it."
            raise WebError(HTTPStatus.GONE, what, "Ask again.")
        self._hear(lease_id)
        return lease

    def note_activity(self, user: str, lease_id: str, busy: bool) -> Lease:
        """Note whether the holder of a user's lease is busy; an idle one may be suspended when others wait.

        A suspended one that is idle leaves the queue and keeps its state.
        """
        self._own(user, lease_id)
        self.store.note_activity(lease_id, busy)
        return self._known(lease_id)

    def suspend(self, actor: str, lease_id: str, *, anybodys: bool = False) -> Lease:
        """Suspend a lease now, whoever waits: a user's own one, or as an admin anybody's.

        Raises
        ------
        WebError
            409 where that is not possible, with the reason.
        """
        lease = self._known(lease_id) if anybodys else self._own(actor, lease_id)
        refusal = self._suspender.refusal(lease.holder)
        with self._lock:
            begun = None if refusal else self.store.begin_suspension(lease_id, actor)
            if begun is None:
                reason = refusal or _("nothing uses GPUs by it, or what does is busy")
                what = _("The lease cannot be suspended: {reason}.", reason=reason)
                raise WebError(HTTPStatus.CONFLICT, what, _("Nothing has changed."))
            self._suspensions.suspend(begun)
        return self._known(lease_id)

    def resume(self, user: str, lease_id: str) -> Lease:
        """Ask for the GPUs of a user's suspended lease again.

        Raises
        ------
        WebError
            410 for a lease that has ended.
        """
        lease = self._own(user, lease_id)
        if self.store.resume(lease_id, user) is None and lease.state == "released":
            raise WebError(HTTPStatus.GONE, f"The lease has ended: {lease.reason}.", "Restart the kernel.")
        self.grant()
        return self._known(lease_id)

    def give_back(self, user: str, lease_id: str) -> Lease:
        """End a user's own lease."""
        if self.store.get(lease_id) is None:
            self._given_up.add(user, lease_id)
        self._own(user, lease_id)
        return self._release(lease_id, user, "given back")

    def leave(self, user: str, lease_id: str) -> Lease:
        """Give up a user's own place in the queue, unless it has become a lease meanwhile.

        Raises
        ------
        WebError
            409 where its GPUs are there: whoever looked at the queue has not seen that something uses them now.
        """
        self._own(user, lease_id)
        left = self.store.release(lease_id, user, "given back", only_in="queued")
        if left is None:
            what = _("The lease does not wait any more: it has its GPUs, or has ended.")
            raise WebError(HTTPStatus.CONFLICT, what, _("Nothing has changed."))
        self._forget(lease_id)
        self.grant()
        return left

    def take_back(self, actor: str, lease_id: str, *, anybodys: bool = True) -> Lease:
        """End anybody's lease, or a user's own one, and the process that uses its GPUs, or is suspended, with it.

        A GPU whose user lives on would be used by two. The process gets SIGTERM, then SIGKILL.
        """
        lease = self._known(lease_id) if anybodys else self._own(actor, lease_id)
        if lease.in_use and (lease.devices or lease.state == "suspended"):
            self._machine.end(lease.holder)
        return self._release(lease_id, actor, f"released by {actor}")

    # What the watcher does -------------------------------------------------------------------------------

    def recover(self) -> None:
        """Finish what an earlier pool was killed in the middle of."""
        self._look_first()
        self._suspensions.recover()

    def watch(self) -> None:
        """Look once: take back what the dead and the silent left, and give it to those who wait."""
        for lease in self.store.active():
            if not self._machine.is_alive(lease.holder):
                self._found_dead(lease)
                continue
            self._missing.pop(lease.id, None)
            if self._is_silent(lease):
                self._end_if_held(lease, "its asker was not heard of any more")
        with self._lock:  # what has just begun is not taken for left behind
            self._suspensions.recover()
        self.grant()
        self._restarts.look()

    def grant(self) -> None:
        """Give free GPUs to those who are next, and begin to suspend idle leases for those who get none."""
        with self._lock:
            self._look_first()
            standing = self.store.active()
            if all(lease.waiting_since is None for lease in standing):
                return  # the most frequent case by far, twice a second
            settled = self.store.settle(decide, self._suspensions.possible(standing), self._suspender.moves)
            for lease in settled.granted:
                self._hear(lease.id)
                _log.info("%s got %s for %s %s", lease.user, lease.devices or "the CPU", lease.purpose, lease.label)
                if lease.step == "restoring":
                    self._suspensions.restore(lease)
            for lease in settled.suspending:
                self._suspensions.suspend(lease)

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
        return self._clock() - heard > SILENCE

    def _end_if_held(self, lease: Lease, reason: str) -> None:
        if self.store.release(lease.id, "pool", reason, held_by=lease.holder):
            _log.info("The lease of %s for %s %s ended: %s", lease.user, lease.purpose, lease.label, reason)
            self._forget(lease.id)

    # Within ----------------------------------------------------------------------------------------------

    def _release(self, lease_id: str, actor: str, reason: str) -> Lease:
        released = self.store.release(lease_id, actor, reason)
        self._forget(lease_id)
        self.grant()
        return released or self._known(lease_id)

    def _repeated(self, lease_id: str, user: str, actor: str) -> Lease:
        """Return a lease that was asked for, now or before; one that was given back even before that has ended."""
        lease = self._known(lease_id)
        check_asker(lease, self.store.asked_by(lease_id), user, actor)
        if self._given_up.take(actor, lease_id):
            return self._release(lease_id, actor, "given back")
        if lease.state != "released":
            self._hear(lease_id)
        return lease

    def _known(self, lease_id: str) -> Lease:
        lease = self.store.get(lease_id)
        if lease is None:
            what = _("There is no lease {id}.", id=lease_id)
            raise WebError(HTTPStatus.NOT_FOUND, what, _("It may have ended; ask again."))
        return lease

    def _own(self, user: str, lease_id: str) -> Lease:
        lease = self.store.get(lease_id)
        # Somebody else's lease looks like none: nobody can find out which ones exist.
        if lease is None or (lease.user != user and self.store.asked_by(lease_id) != user):
            what = _("{user} has no lease {id}.", user=user, id=lease_id)
            raise WebError(HTTPStatus.NOT_FOUND, what, _("Only the holder and admins can do this."))
        return lease

    def _check_holder(self, user: str, asker: str, holder: Process, in_use: bool = False) -> None:
        """Refuse a process that is neither the user's nor the asker's; a service never uses a GPU itself."""
        accounts = {self._account_of(user)}
        if not asker.startswith(SERVICES):
            accounts.add(self._account_of(asker))
        elif not in_use:
            accounts.add(os.getuid())  # services run as the pool does
        owner = self._machine.owner(holder)
        if owner is None:
            what = f"Process {holder.pid} (started at {holder.start_time}) is not running."
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, "A lease belongs to a living process.")
        if owner not in accounts:
            what = f"Process {holder.pid} is not one of {user}'s."
            raise WebError(HTTPStatus.FORBIDDEN, what, "A lease belongs to a process of its user's account.")

    def _check_wanted(self, wanted: int, memory: int | None) -> None:
        devices = self.devices()
        if devices and wanted > len(devices):
            what = _("{n} GPUs were asked for; this machine has {count}.", n=wanted, count=len(devices))
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=len(devices)))
        largest = max((device.memory for device in devices), default=0)
        if devices and memory is not None and memory > largest:
            what = _("{n} MiB of a GPU were asked for; the largest one here has {most}.", n=memory, most=largest)
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, _("Ask for {n} at most.", n=largest))

    def _check_quota(self, user: str, groups: Sequence[str], wanted: int, memory: int | None) -> None:
        most = quota_of(user, groups, self.policy.quotas()).gpus
        if most is not None and (wanted > most if memory is None else most <= 0):
            what = _("{n} GPUs were asked for; your quota is {most:g} at once.", n=wanted, most=most)
            remedy = _("Ask for fewer, or ask an admin for a larger quota.")
            raise WebError(HTTPStatus.UNPROCESSABLE_ENTITY, what, remedy)

    def _look_first(self) -> None:
        with self._lock:
            if not self._looked:
                self.look_at_devices()

    def _hear(self, lease_id: str) -> None:
        self._heard[lease_id] = self._clock()

    def _forget(self, lease_id: str) -> None:
        self._heard.pop(lease_id, None)
        self._missing.pop(lease_id, None)
