"""The pool's books, on a real SQLite database."""

import sqlite3
import tempfile

import pytest
from armillary_hub.pool.database import holdings
from armillary_hub.pool.store import LeaseStore, replay
from armillary_kernels.processes import Process
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

HOLDER = Process(4000, 1)


@pytest.fixture
def store(tmp_path):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    yield store
    store.close()


def ask(store, user="alice", wanted=1):
    return store.ask(user, "kernel", "Untitled.ipynb", wanted, HOLDER).id


def test_first_come_first_served(store):
    first, second, third = (ask(store, user) for user in ("alice", "bob", "carol"))
    assert [lease.id for lease in store.grant_waiting(["a", "b"])] == [first, second]
    assert store.get(third).state == "queued"
    store.release(first, "alice", "given back")
    assert [(lease.id, lease.devices) for lease in store.grant_waiting(["a", "b"])] == [(third, ("a",))]


def test_a_large_ask_is_not_overtaken(store):
    one = ask(store)
    store.grant_waiting(["a", "b"])
    large, small = ask(store, "bob", wanted=2), ask(store, "carol")
    assert store.grant_waiting(["a", "b"]) == []
    store.release(one, "alice", "given back")
    assert [lease.id for lease in store.grant_waiting(["a", "b"])] == [large]
    assert store.get(small).state == "queued"


def test_a_machine_without_gpus_grants_none_at_once(store):
    lease = ask(store, wanted=3)
    assert [(one.id, one.devices) for one in store.grant_waiting([], cpu_only=True)] == [(lease, ())]


def test_a_lost_driver_sends_nobody_to_the_cpu(store):
    ask(store)
    assert store.grant_waiting([]) == []


def test_release_only_while_held_by(store):
    lease = ask(store)
    store.grant_waiting(["a"])
    store.bind(lease, Process(5000, 2), in_use=True)
    assert store.release(lease, "pool", "its process ended", held_by=HOLDER) is None
    assert store.get(lease).state == "granted"


def test_only_a_granted_lease_is_bound(store):
    assert store.bind(ask(store), HOLDER, in_use=True) is None


def test_the_database_refuses_a_second_holder(store):
    first, second = ask(store), ask(store, "bob")
    store.grant_waiting(["a"])
    with pytest.raises(IntegrityError), store._engine.begin() as connection:
        connection.execute(insert(holdings).values(device="a", lease_id=second, position=0))
    assert store.get(first).devices == ("a",)


def test_books_are_private(store, tmp_path):
    assert (tmp_path / "pool.sqlite").stat().st_mode & 0o077 == 0


class Books(RuleBasedStateMachine):
    """Ask, grant, bind, return, die, restart the pool, lose a GPU: in any order."""

    devices = ("a", "b", "c")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{self.folder.name}/pool.sqlite"
        self.store = LeaseStore(self.url)
        self.working = self.devices
        self.asked = []

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    @rule(wanted=st.integers(1, 3), user=st.sampled_from(["alice", "bob", "carol"]))
    def ask(self, wanted, user):
        self.asked.append(self.store.ask(user, "kernel", "", wanted, Process(len(self.asked) + 2, 1)).id)

    @rule()
    def grant(self):
        self.store.grant_waiting(self.working)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def bind(self, data):
        self.store.bind(data.draw(st.sampled_from(self.asked)), Process(9999, 7), in_use=True)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def give_back(self, data):
        self.store.release(data.draw(st.sampled_from(self.asked)), "alice", "given back")

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def die(self, data):
        lease = self.store.get(data.draw(st.sampled_from(self.asked)))
        self.store.release(lease.id, "pool", "its process ended", held_by=lease.holder)

    @rule(working=st.sets(st.sampled_from(devices)))
    def lose_or_find_gpus(self, working):
        self.working = tuple(sorted(working))

    @rule()
    def restart(self):
        self.store.close()
        self.store = LeaseStore(self.url)

    @invariant()
    def no_gpu_twice(self):
        held = [device for lease in self.store.active() for device in lease.devices]
        assert len(held) == len(set(held))

    @invariant()
    def audit_replays_to_the_state(self):
        found = {one: self.store.get(one) for one in self.asked}
        told = replay(self.store.changes())
        assert told == {one: (lease.state, lease.devices) for one, lease in found.items()}

    @invariant()
    def holders_have_what_they_asked_for(self):
        for lease in self.store.active():
            assert len(lease.devices) == (lease.wanted if lease.state == "granted" else 0)


Books.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_books_balance = Books.TestCase


def test_a_killed_transaction_leaves_nothing_half_done(store, tmp_path):
    lease = ask(store)
    store.grant_waiting(["a"])
    half = sqlite3.connect(tmp_path / "pool.sqlite", isolation_level=None)
    half.execute("BEGIN IMMEDIATE")
    half.execute("DELETE FROM holdings")
    half.close()  # as the kernel does it when the process is killed
    assert store.get(lease).devices == ("a",)
