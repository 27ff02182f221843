"""The gate before a kernel's cells, against a real pool with one pretend GPU: no Jupyter in it."""

import gc
import os
import resource
import threading
import weakref
from concurrent.futures import TimeoutError as NotDoneError
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path

import pytest
from armillary_kernels.gate import Gate, Rhythm
from armillary_kernels.kernel_lease import KernelLease
from armillary_kernels.kernel_notes import Order
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.leases import Lease, LeaseLostError, LeaseRefusedError, PoolUnreachableError
from armillary_kernels.processes import Process
from armillary_kernels.waiting import NoGpuFreeError, Wait, WaitInterruptedError
from armillary_kernels.wishes import GpuWish
from support.gpu_pool import PoolProcess, eventually

#: Seconds; the pool suspends at once what says that it is idle when somebody waits.
QUICK = Rhythm(idle_after=0.05, place=0.1, look=0.1)

#: What waits in a test ends with it.
WAITS = []


@pytest.fixture(scope="module")
def running_pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"), simulate_gpus=1, idle_after=0.0)
    pool.start()
    yield pool
    pool.kill()


@pytest.fixture
def pool(running_pool):
    yield running_pool
    for user in ("ann", "ben"):  # an admin would end the process that holds a lease, which is this one
        running_pool.clear(user)


@pytest.fixture
def new_gate(pool):
    """Make the gate of a kernel that is this process."""
    gates = []

    def make(wish=GpuWish(1), rhythm=QUICK, connection=None, **options):  # noqa: B008 - frozen
        notes = []
        lease = KernelLease(connection or pool.connection("ann"), Order(wish, label="a.ipynb"), keep=notes.append)
        gates.append(Gate(lease, rhythm=rhythm, **options))
        gates[-1].notes = notes
        return gates[-1]

    yield make
    for opening in WAITS:
        opening.wait.cancel()
        opening.done.exception(10)
    WAITS.clear()
    for gate in gates:
        gate.stop()


@pytest.fixture
def other(pool):
    """Somebody else, who uses a process of this account."""

    class Other:
        def __init__(self):
            self.client = LeaseClient(pool.connection("ben"))

        def take(self):
            answer = self.client.ask("kernel", 1, "", Process.own())
            self.id = answer.id
            if isinstance(answer, Lease):
                self.client.bind(answer.id, Process.own())
            return answer

        def has_it(self):
            return isinstance(self.client.look(self.id), Lease)

        def give_back(self):
            self.client.give_back(self.id)

    return Other()


def pass_(gate, within=20):
    """Go through the gate as a cell does."""
    while not gate.enter():
        opening = gate.opening()
        WAITS.append(opening)
        opening.done.result(within)


def shown(gate):
    """Begin to wait, and return what is shown, which grows."""
    standings = []
    opening = gate.opening()
    WAITS.append(opening)
    opening.wait.watch(standings.append)
    return opening, standings


def state(pool):
    (lease,) = (one for one in [*pool.state()["leases"], *pool.state()["queue"]] if one["user"] == "ann")
    return lease["state"], lease["step"], lease["idle_since"] is None


def test_a_cell_passes_and_the_kernel_is_idle_when_it_has_left(pool, new_gate):
    gate = new_gate()
    pass_(gate)
    assert gate.environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert pool.holders() == {0: "ann"}
    assert state(pool) == ("granted", "", True)
    gate.leave()
    eventually(lambda: state(pool) == ("granted", "", False))
    pass_(gate)
    assert state(pool) == ("granted", "", True)


def test_an_open_gate_asks_nothing(pool, new_gate):
    gate = new_gate(rhythm=Rhythm(idle_after=60))
    pass_(gate)
    pool.kill()
    try:
        gate.leave()
        pass_(gate, within=0)
    finally:
        pool.start()


def test_a_queued_cell_sees_who_holds_the_gpu_and_goes_on_when_it_is_free(pool, new_gate, other):
    other.take()
    gate = new_gate()
    opening, standings = shown(gate)
    eventually(lambda: standings)
    assert (standings[0].position, standings[0].holders[0].user, standings[0].waits_for) == (1, "ben", "turn")
    other.give_back()
    opening.done.result(10)
    assert pool.holders() == {0: "ann"}


def test_an_interrupt_gives_the_place_back_and_the_next_cell_asks_anew(pool, new_gate, other):
    other.take()
    gate = new_gate()
    opening, standings = shown(gate)
    eventually(lambda: standings)
    opening.wait.cancel()
    with pytest.raises(WaitInterruptedError):
        opening.done.result(10)
    assert pool.state()["queue"] == []
    assert gate.notes[-1].lease is None
    other.give_back()
    pass_(gate)
    assert pool.holders() == {0: "ann"}


def test_a_wait_that_may_not_last_longer_says_its_place(pool, new_gate, other):
    other.take()
    gate = new_gate(wait_seconds=0.1)
    with pytest.raises(NoGpuFreeError) as error:
        gate.opening().done.result(10)
    assert error.value.place.position == 1
    assert pool.state()["queue"] == []


def test_the_place_of_a_kernel_without_a_cell_is_kept_and_its_turn_comes(pool, new_gate, other):
    other.take()
    order_of = LeaseClient(pool.connection("ann")).ask("kernel", 1, "", Process.own()).id
    lease = KernelLease(pool.connection("ann"), Order(GpuWish(1), lease=order_of))
    gate = Gate(lease, rhythm=QUICK)
    eventually(lambda: lease.standing)
    other.give_back()
    eventually(lambda: state(pool) == ("granted", "", False))
    gate.stop()


def test_a_suspended_kernel_passes_when_it_is_restored(pool, new_gate, other):
    gate = new_gate()
    pass_(gate)
    gate.leave()
    other.take()
    eventually(other.has_it)
    assert state(pool)[0] == "suspended"
    opening, standings = shown(gate)
    eventually(lambda: standings and getattr(standings[-1], "is_suspended", False))
    with pytest.raises(NotDoneError):
        opening.done.result(0)
    other.give_back()
    opening.done.result(10)
    pass_(gate)
    assert state(pool) == ("granted", "", True)


def test_an_interrupt_of_a_suspended_kernel_keeps_its_state_and_leaves_the_queue(pool, new_gate, other):
    gate = new_gate()
    pass_(gate)
    gate.leave()
    other.take()
    eventually(other.has_it)
    opening, standings = shown(gate)
    eventually(lambda: standings)
    opening.wait.cancel()
    with pytest.raises(WaitInterruptedError):
        opening.done.result(10)
    assert state(pool)[0] == "suspended"
    assert pool.state()["queue"] == []
    other.give_back()
    pass_(gate)


def test_an_interrupt_while_the_state_is_brought_back_leaves_that_alone(pool, new_gate, other, monkeypatch):
    gate = new_gate()
    pass_(gate)
    gate.leave()
    other.take()
    eventually(other.has_it)
    look, restoring = LeaseClient.look, threading.Event()

    def slowly(client, lease):
        answer = look(client, lease)
        if isinstance(answer, Lease) and answer.state == "granted" and client is gate.lease._pool:
            restoring.set()
            return replace(answer, step="restoring")
        return answer

    monkeypatch.setattr(LeaseClient, "look", slowly)
    opening, standings = shown(gate)
    eventually(lambda: standings)
    other.give_back()
    assert restoring.wait(10)
    eventually(lambda: getattr(standings[-1], "step", "") == "restoring")
    opening.wait.cancel()
    with pytest.raises(WaitInterruptedError):
        opening.done.result(10)
    assert state(pool) == ("granted", "", True), "nothing was given back"
    monkeypatch.undo()
    pass_(gate)


def test_a_pool_that_dies_while_a_cell_waits_is_waited_for(pool, new_gate, other):
    other.take()
    gate = new_gate()
    opening, standings = shown(gate)
    eventually(lambda: standings)
    pool.kill()
    try:
        eventually(lambda: isinstance(standings[-1], PoolUnreachableError))
    finally:
        pool.start()
    eventually(lambda: not isinstance(standings[-1], PoolUnreachableError))
    assert len(pool.state()["queue"]) == 1
    other.give_back()
    opening.done.result(10)


def test_a_pool_that_stays_away_is_an_error_of_the_cell(new_gate, pool):
    nobody = pool.connection("ann")
    object.__setattr__(nobody, "pool_url", "http://127.0.0.1:9/services/gpu-pool")
    with pytest.raises(PoolUnreachableError):
        new_gate(connection=nobody, wait_seconds=0.1).opening().done.result(10)


def test_what_the_pool_refuses_is_an_error_of_the_cell(new_gate):
    with pytest.raises(LeaseRefusedError, match="this machine has 1"):
        new_gate(GpuWish(2)).opening().done.result(10)


def test_what_an_admin_ends_is_an_error_of_one_cell(pool, new_gate, other):
    other.take()
    gate = new_gate()
    opening, standings = shown(gate)
    eventually(lambda: standings)
    lease = pool.state()["queue"][0]["id"]
    LeaseClient(pool.connection("admin:root")).give_back(lease)
    with pytest.raises(LeaseLostError, match="released by root"):
        opening.done.result(10)
    _, standings = shown(gate)
    eventually(lambda: standings)
    assert pool.state()["queue"][0]["id"] != lease


def test_another_choice_gives_the_first_lease_back(pool, new_gate):
    gate = new_gate()
    pass_(gate)
    gate.leave()
    gate.choose(GpuWish(1, 4096)).result(10)
    pass_(gate)
    assert gate.environment["ARMILLARY_GPU_MEMORY_MIB"] == "4096"
    assert [lease["memory"] for lease in pool.state()["leases"]] == [4096]
    assert gate.notes[-1].choice == gate.notes[-1].wish == GpuWish(1, 4096)
    gate.leave()
    gate.choose(GpuWish(0)).result(10)
    assert gate.enter()
    assert gate.environment == {}
    assert pool.state()["leases"] == []


def test_a_late_answer_leaves_nothing_that_nobody_uses(pool, new_gate, monkeypatch):
    monkeypatch.setattr("armillary_kernels.lease_client.TIMEOUT", 0.5)
    gate = new_gate()
    with pool.late_answers():
        opening, standings = shown(gate)
        eventually(lambda: standings and len(pool.state()["leases"]) == 1)
        assert isinstance(standings[-1], PoolUnreachableError)
    opening.done.result(10)
    assert [lease["id"] for lease in pool.state()["leases"]] == [gate.lease.id]
    with pool.late_answers(), pytest.raises(PoolUnreachableError):
        gate.choose(GpuWish(1, 4096)).result(10)
    eventually(lambda: pool.state()["queue"] == [])
    pass_(gate)  # its GPU was lent meanwhile
    assert (pool.holders(), gate.lease.wish) == ({0: "ann"}, GpuWish(1))


def test_no_wait_is_for_a_gpu_that_an_unanswered_ask_of_ones_own_holds(pool, monkeypatch):
    monkeypatch.setattr("armillary_kernels.lease_client.TIMEOUT", 0.5)
    lease = KernelLease(pool.connection("ann"), Order(GpuWish(1), label="a.ipynb"))
    lease.obtain(Wait(20))
    with pool.late_answers(), pytest.raises(PoolUnreachableError):
        lease.choose(GpuWish(1, 4096))
    lease.rest()
    eventually(lambda: {one["state"] for one in pool.state()["leases"]} == {"suspended", "granted"})
    assert lease.obtain(Wait(20)).id == lease.id
    assert [(one["id"], one["state"]) for one in pool.state()["leases"]] == [(lease.id, "granted")]


def test_a_wait_for_an_answer_that_is_interrupted_leaves_nothing_either(pool, new_gate, other, monkeypatch):
    other.take()
    monkeypatch.setattr("armillary_kernels.lease_client.TIMEOUT", 0.5)
    gate = new_gate()
    with pool.late_answers():
        opening, standings = shown(gate)
        eventually(lambda: standings and pool.state()["queue"])
        opening.wait.cancel()
        with pytest.raises(WaitInterruptedError):
            opening.done.result(10)
    eventually(lambda: pool.state()["queue"] == [])
    assert gate.lease.id is None


def test_a_choice_that_the_pool_refuses_changes_nothing(pool, new_gate):
    gate = new_gate()
    pass_(gate)
    with pytest.raises(LeaseRefusedError):
        gate.choose(GpuWish(2)).result(10)
    assert gate.enter()
    assert pool.holders() == {0: "ann"}
    assert gate.lease.wish == GpuWish(1)


def test_only_what_needs_no_wait_is_answered_meanwhile(pool, new_gate, other):
    gate = new_gate()
    assert not gate.open_if_usable().result(10), "nothing is asked for only to complete a word"
    pass_(gate)
    gate.leave()
    eventually(lambda: state(pool) == ("granted", "", False))
    assert gate.open_if_usable().result(10)
    other.take()
    eventually(other.has_it)
    assert not gate.open_if_usable().result(10)
    opening, _ = shown(gate)
    assert not gate.open_if_usable().result(10)
    assert not opening.done.done()


def test_an_idle_kernel_is_warned_once_that_it_is_restarted(pool, new_gate, monkeypatch):
    warned = []
    gate = new_gate(warn=warned.append)
    pass_(gate)
    gate.leave()
    at, look = datetime(2026, 11, 24, 9, tzinfo=UTC), LeaseClient.look
    looks = []

    def will_end(client, lease):
        looks.append(lease)
        return replace(look(client, lease), restart_at=at)

    monkeypatch.setattr(LeaseClient, "look", will_end)
    eventually(lambda: len(looks) > 2)
    assert warned == [at]


def test_a_loss_is_told_once_and_a_later_one_again(pool, new_gate):
    gate = new_gate()
    pass_(gate)
    for lost, told in ((0,), [0]), ((0,), []), ((), []), ((0, 1), [0, 1]), ((0,), []):
        gate.lease.standing = replace(gate.lease.standing, lost=lost)
        assert gate.fresh_losses() == told
    gate.leave()


def test_a_kernel_that_asks_for_no_gpu_has_no_thread(pool, new_gate):
    gate = new_gate(GpuWish(0))
    assert gate.enter()
    assert gate._thread is None
    assert pool.state()["leases"] == []


def test_a_fault_between_cells_does_not_end_the_gate(pool, new_gate):
    """Here what the provisioner is told cannot be kept, when the idle kernel's lease has ended."""

    def keep(note):
        if note.lease is None:
            raise OSError("No space left on device")

    gate = Gate(KernelLease(pool.connection("ann"), Order(GpuWish(1)), keep=keep), rhythm=QUICK)
    pass_(gate)
    gate.leave()
    eventually(lambda: not gate._open, what="a closed gate")
    pool.clear("ann")
    eventually(lambda: gate.lease.id is None, what="the end of the lease")
    pass_(gate)
    assert pool.holders() == {0: "ann"}
    gate.stop()


@contextmanager
def no_file_descriptors_left():
    """Use up all that this process may have; what is open stays open."""
    limits, held = resource.getrlimit(resource.RLIMIT_NOFILE), []
    most = max(int(open_.name) for open_ in Path("/dev/fd").iterdir()) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_kernel_without_file_descriptors_is_idle_all_the_same(pool, new_gate):
    gate = new_gate()
    pass_(gate)
    with no_file_descriptors_left():
        gate.leave()
        eventually(lambda: gate.lease.standing.is_idle, what="the word that it is idle")
    assert state(pool) == ("granted", "", False)
    assert not gate.lease.has_used_cuda(), "what could not be seen then is seen now"


def test_the_garbage_collector_leaves_the_persons_objects_alone_while_the_gate_is_closed(pool, new_gate):
    class Tensor:
        pass

    gate = new_gate()
    pass_(gate)
    tensor = Tensor()
    tensor.itself, seen = tensor, weakref.ref(tensor)
    del tensor
    gate.leave()
    eventually(lambda: not gate._open, what="a closed gate")
    gc.collect()
    assert seen() is not None
    pass_(gate)
    gc.collect()
    assert seen() is None


def test_a_question_that_nobody_waits_for_any_more_is_not_asked(pool, new_gate, other):
    other.take()
    gate = new_gate(wait_seconds=0.3)
    waiting, given_up = gate.opening().done, gate.look()
    assert given_up.cancel()
    with pytest.raises(NoGpuFreeError):
        waiting.result(10)
    assert gate.look().result(10) is None, "the thread goes on"


def test_a_wait_ends_in_time_however_silent_the_pool():
    wait, silence = Wait(patience=0.1), PoolUnreachableError("", "")
    with pytest.raises(PoolUnreachableError):
        list(map(wait.bear, repeat(silence, 100)))
    assert wait.is_cancelled is False
