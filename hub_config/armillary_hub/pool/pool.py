"""What the pool does: who may ask, who gets a GPU, and how leases come back from those who are gone.

A lease lives as long as its holder, the process (pid and start time) it is tied to. A watcher looks twice a second;
it takes back what a holder left that it found dead in two looks, so that a kernel that is restarted on purpose has time
to hand its lease to the server that restarts it. A lease that nobody uses yet (queued, or granted and not yet bound
to its kernel) must also be heard of, else it ends: an asker that hangs must not keep others waiting.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus

from armillary_kernels.processes import Process
from armillary_kernels.texts import translator
from armillary_kernels.together import Together

from armillary_hub.apps.owner import AppOwner
from armillary_hub.pool.admission import Admission, wanted_at_once
from armillary_hub.pool.audit_counts import AuditCounts
from armillary_hub.pool.device_groups import DeviceGroups, NoDeviceGroups
from armillary_hub.pool.device_watch import DeviceWatch
from armillary_hub.pool.devices import Inventory
from armillary_hub.pool.enforcement import Enforcement
from armillary_hub.pool.hearing import Heard
from armillary_hub.pool.idleness import Idleness
from armillary_hub.pool.machine import AccountOf, Machine, ThisMachine
from armillary_hub.pool.policy import PolicyStore
from armillary_hub.pool.pruning import Pruning
from armillary_hub.pool.reasons import reason_in_words
from armillary_hub.pool.records import BookedDevice, Lease
from armillary_hub.pool.repeats import GivenUp, check_asker
from armillary_hub.pool.reports import Reports
from armillary_hub.pool.restarts import Restarts
from armillary_hub.pool.samples import SampleLog, Sampler
from armillary_hub.pool.scheduling import decide
from armillary_hub.pool.situation import Situation
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspender import NoSuspender, Suspender
from armillary_hub.pool.suspension import Suspensions, in_a_thread
from armillary_hub.web.errors import WebError

_ = translator(__file__)

_log = logging.getLogger(__name__)

#: Seconds between two looks of the watcher.
LOOK_INTERVAL = 0.5

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
    device_groups
        What lets a process open the GPUs of its lease only; by default nothing does.
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
        device_groups: DeviceGroups | NoDeviceGroups | None = None,
    ) -> None:
        self.store = store
        self.owner_of = owner_of
        self.device_groups = device_groups or NoDeviceGroups()
        self.policy = PolicyStore(store.database)
        self.samples = SampleLog()
        self._sampler = Sampler(inventory, store, self.samples)
        self._gpus = DeviceWatch(inventory, store)
        self.counts = AuditCounts(Reports(store))
        self.pruning = Pruning(store, self.counts)
        self._machine = machine or ThisMachine()
        self._admission = Admission(self.policy, account_of, self._machine)
        self._suspender = suspender or NoSuspender()
        idleness = Idleness(self.samples, store.clock, store.rules.idle_after)
        self._suspensions = Suspensions(store, self._suspender, self._machine, self.grant, idleness, start)
        self._restarts = Restarts(store, self._suspensions)
        self.enforcement = Enforcement(store, self.samples, self._machine, may_end, start or in_a_thread)
        self._lock = threading.RLock()
        self._heard = Heard(store.clock.monotonic)
        self._missing: dict[str, Process] = {}
        self._given_up = GivenUp()

    # What there is ---------------------------------------------------------------------------------------

    def look_at_devices(self) -> None:
        """Ask which GPUs there are, and write it down. Where NVML gives no answer, no GPU is given to anybody."""
        self._gpus.look()

    def devices(self) -> list[BookedDevice]:
        """Return the GPUs that the books know, those in trouble too."""
        return self._gpus.all()

    @property
    def driver(self) -> str:
        """The version of the NVIDIA driver; empty before it is known, and on pretend GPUs."""
        return self._gpus.driver

    def take_sample(self) -> None:
        """Note in `samples` what the GPUs do now, and in `enforcement` who does it without a lease."""
        self._sampler.take()
        self.enforcement.look()
        self._keep_apart(everybody=True)

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
            account's process; 429 where too many asks of the user wait already; 409 for an id of somebody else's.
        """
        if lease_id and self.store.get(lease_id) is not None:
            return self._repeated(lease_id, user, asked_by or user)
        self._admission.check_holder(user, asked_by or user, holder)
        at_once = wanted_at_once(user, wanted, together, self.store.active() if together else ())
        self._admission.check_amount(self.devices(), user, groups, wanted, at_once, memory)
        asked = (user, purpose, label, wanted, holder, together)
        self._admission.check_waiting(user, self.store.waiting(user), self.store.rules.most_waiting)
        lease = self.store.ask(*asked, memory=memory, groups=groups, asked_by=asked_by, lease_id=lease_id)
        self.grant()
        return self._repeated(lease.id, user, asked_by or user)

    def look(self, user: str, lease_id: str) -> Lease:
        """Return a user's lease, and note that its asker is there."""
        lease = self._own(user, lease_id)
        if lease.state != "released":
            self._heard.hear(lease_id)
        return lease

    def bind(self, user: str, lease_id: str, holder: Process, in_use: bool) -> Lease:
        """Tie a lease to another process of its user's, or of who asked for it: of a service while nothing uses it.

        Raises
        ------
        WebError
            410 for a lease that is suspended or has ended, or whose GPU was lost: it ends now, for nobody can use it.
        """
        found = self._own(user, lease_id)
        self._end_if_lost(found)
        self._admission.check_holder(found.user, user, holder, in_use)
        lease = self.store.bind(lease_id, holder, in_use, user)
        if lease is None:
            what = _("The lease is suspended or has ended, so nothing can be tied to it.")
            raise WebError(HTTPStatus.GONE, what, _("Ask again."))
        self._heard.hear(lease_id)
        self._keep_apart(lease_id)
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
        refusal = self._suspensions.refusal(lease)
        with self._lock:
            begun = None if refusal else self.store.begin_suspension(lease_id, actor)
            if begun is None:
                reason = reason_in_words(refusal) if refusal else _("nothing uses GPUs by it, or what does is busy")
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
        if lease.state == "suspended" and not self._suspensions.may_come_back(lease):
            return lease  # it says why it could not be restored; its asker asks again
        if self.store.resume(lease_id, user) is None and lease.state == "released":
            what = _("The lease has ended: {reason}.", reason=reason_in_words(lease.reason))
            raise WebError(HTTPStatus.GONE, what, _("Restart the kernel."))
        self.grant()
        return self._known(lease_id)

    def give_back(self, user: str, lease_id: str) -> Lease:
        """End a user's own lease."""
        if self.store.get(lease_id) is None:
            self._given_up.add(user, lease_id)
        lease = self._own(user, lease_id)
        if lease.in_use and not self._machine.is_alive(lease.holder):
            self._machine.kill_left_behind(self._suspensions.family(lease))
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
            raise _still_there(self._known(lease_id))
        self.grant()
        return left

    def take_back(self, actor: str, lease_id: str, *, anybodys: bool = True) -> Lease:
        """End anybody's lease, or a user's own one, and the process that uses its GPUs, or is suspended, with it.

        A GPU whose user lives on would be used by two. The process and what it has started get SIGTERM, then SIGKILL.
        """
        lease = self._known(lease_id) if anybodys else self._own(actor, lease_id)
        if lease.in_use and (lease.devices or lease.state == "suspended"):
            self._machine.end_family(self._suspensions.family(lease))
        return self._release(lease_id, actor, f"released by {actor}")

    # What the watcher does -------------------------------------------------------------------------------

    def recover(self) -> None:
        """Finish what an earlier pool was killed in the middle of."""
        self._gpus.look_first()
        self._keep_apart()
        self._suspensions.recover()

    def watch(self) -> None:
        """Look once: take back what the dead and the silent left, and give it to those who wait."""
        self.store.database.check()
        self.store.keep_time()
        standing = self.store.active()
        self._heard.keep({lease.id for lease in standing})
        self._missing = {lease.id: self._missing[lease.id] for lease in standing if lease.id in self._missing}
        for lease in standing:
            if not self._machine.is_alive(lease.holder):
                self._found_dead(lease)
                continue
            self._missing.pop(lease.id, None)
            if not lease.in_use and self._heard.is_silent(lease.id):
                self._end_if_held(lease, "its asker was not heard of any more")
        self._keep_apart()
        with self._lock:  # what has just begun is not taken for left behind
            self._suspensions.recover()
        self.grant()
        self._restarts.look()

    def grant(self) -> None:
        """Give free GPUs to those who are next, and begin to suspend idle leases for those who get none."""
        with self._lock:
            self._gpus.look_first()
            standing = self.store.active()
            if all(lease.waiting_since is None for lease in standing):
                return  # the most frequent case by far, twice a second
            settled = self.store.settle(decide, self._suspensions.possible(standing), self._suspender.moves)
            for lease in settled.granted:
                self._heard.hear(lease.id)
                _log.info("%s got %s for %s %s", lease.user, lease.devices or "the CPU", lease.purpose, lease.label)
                if lease.step == "restoring":
                    self._keep_apart(lease.id)
                    self._suspensions.restore(lease)
            for lease in settled.suspending:
                self._suspensions.suspend(lease)

    def _found_dead(self, lease: Lease) -> None:
        if self._missing.get(lease.id) != lease.holder:
            self._missing[lease.id] = lease.holder
        elif not lease.in_use or not self._machine.kill_left_behind(self._suspensions.family(lease)):
            self._end_if_held(lease, "its process ended")  # else what it left is still on the GPU: at the next look

    def _end_if_held(self, lease: Lease, reason: str) -> None:
        if self.store.release(lease.id, "pool", reason, held_by=lease.holder):
            _log.info("The lease of %s for %s %s ended: %s", lease.user, lease.purpose, lease.label, reason)

    # Within ----------------------------------------------------------------------------------------------

    def _end_if_lost(self, lease: Lease) -> None:
        lost = [str(one.index) for one in self.devices() if one.uuid in lease.devices and one.state == "lost"]
        if lost:
            gone = ", ".join(lost)
            self._release(lease.id, "pool", f"GPU {gone} was lost")
            raise WebError(HTTPStatus.GONE, _("GPU {n} of this lease was lost.", n=gone), _("Ask again."))

    def _release(self, lease_id: str, actor: str, reason: str) -> Lease:
        released = self.store.release(lease_id, actor, reason)
        self.grant()
        return released or self._known(lease_id)

    def _repeated(self, lease_id: str, user: str, actor: str) -> Lease:
        """Return a lease that was asked for, now or before; one that was given back even before that has ended."""
        lease = self._known(lease_id)
        check_asker(lease, self.store.asked_by(lease_id), user, actor)
        if self._given_up.take(actor, lease_id):
            return self._release(lease_id, actor, "given back")
        if lease.state != "released":
            self._heard.hear(lease_id)
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
            raise WebError(HTTPStatus.NOT_FOUND, what, _("Only its holder can do this; admins can suspend and end it."))
        return lease

    def _keep_apart(self, *leases: str, everybody: bool = False) -> None:
        self.device_groups.keep(self.store.active, self._gpus.minors, leases, everybody=everybody)


def _still_there(lease: Lease) -> WebError:
    """Return why a lease is not given up as a place in the queue is."""
    what, remedy = _("The lease does not wait any more: it has its GPUs, or has ended."), _("Nothing has changed.")
    if lease.state == "suspended":
        what = _("The lease is suspended: to give it up would lose what is kept in memory.")
        remedy = _("Say that it is idle, and it leaves the queue and keeps that; or end it.")
    return WebError(HTTPStatus.CONFLICT, what, remedy)
