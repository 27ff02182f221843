"""The pool's books, on a real SQLite file and a real PostgreSQL server."""

from datetime import UTC, datetime, timedelta

import pytest
from armillary_hub.pool.clock import BookClock
from armillary_hub.pool.database import devices, holdings, leases
from armillary_hub.pool.device_books import DeviceBooks
from armillary_hub.pool.devices import Device
from armillary_hub.pool.policy import PolicyStore
from armillary_hub.pool.quotas import Quota, QuotaRule
from armillary_hub.pool.records import replay
from armillary_hub.pool.scheduling import decide
from armillary_hub.pool.store import LeaseStore
from armillary_kernels.processes import Process
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

HOLDER = Process(4000, 1)
GIB = 2**30


@pytest.fixture
def store(database_url):
    store = LeaseStore(database_url)
    yield store
    store.close()


def see(store, *uuids, memory=16):
    found = [Device(uuid, index, "GPU", memory * GIB) for index, uuid in enumerate(uuids)]
    return DeviceBooks(store).see(found, anew=False)


def ask(store, user="alice", wanted=1, **share):
    return store.ask(user, "kernel", "Untitled.ipynb", wanted, HOLDER, **share).id


def grant(store, **how):
    """Let the scheduler decide; returns what each lease got."""
    return {lease.id: lease.devices for lease in store.settle(decide, **how).granted}


def test_who_asks_first_is_served_first_among_equals(store):
    see(store, "a", "b")
    first, second, third = (ask(store, user) for user in ("alice", "bob", "carol"))
    assert grant(store) == {first: ("a",), second: ("b",)}
    assert store.get(third).state == "queued"
    store.release(first, "alice", "given back")
    assert grant(store) == {third: ("a",)}


def test_a_large_ask_is_not_overtaken(store):
    see(store, "a", "b")
    one = ask(store)
    grant(store)
    large, small = ask(store, "bob", wanted=2), ask(store, "carol")
    assert grant(store) == {}
    store.release(one, "alice", "given back")
    assert grant(store) == {large: ("a", "b")}
    assert store.get(small).state == "queued"


def test_a_machine_without_gpus_grants_none_at_once(store):
    lease = ask(store, wanted=3)
    assert grant(store) == {lease: ()}


def test_a_lost_driver_sends_nobody_to_the_cpu(store):
    see(store, "a")
    see(store)
    ask(store)
    assert grant(store) == {}


def test_release_only_while_held_by(store):
    see(store, "a")
    lease = ask(store)
    grant(store)
    store.bind(lease, Process(5000, 2), in_use=True)
    assert store.release(lease, "pool", "its process ended", held_by=HOLDER) is None
    assert store.get(lease).state == "granted"


def reasons(store, lease):
    return [change.reason for change in store.changes() if change.lease_id == lease]


def test_the_audit_tells_which_process_has_a_lease_where_that_changes(store):
    see(store, "a")
    lease = ask(store)
    store.bind(lease, Process(5000, 2), in_use=False)
    grant(store)
    for _ in range(2):
        store.bind(lease, Process(6000, 3), in_use=True, actor="services/dask-gateway")
    assert reasons(store, lease) == ["asked", "process 5000 holds it", "granted", "process 6000 uses it"]
    assert [change.actor for change in store.changes()] == ["alice", "alice", "pool", "services/dask-gateway"]
    assert store.get(lease).reason == "granted"


def test_the_audit_tells_of_idleness_where_it_has_a_consequence_and_of_no_cell(database_url):
    wall = datetime(2026, 11, 24, 9, tzinfo=UTC)
    store = LeaseStore(database_url, BookClock(lambda: wall, uptime=lambda: 0.0))
    see(store, "a")
    lease = ask(store)
    grant(store)
    store.bind(lease, HOLDER, in_use=True)
    before = reasons(store, lease)
    for busy in (True, False, True, False):
        store.note_activity(lease, busy)
    assert reasons(store, lease) == before
    store.begin_suspension(lease, "pool")
    assert reasons(store, lease)[-1] == "is being suspended, idle since 2026-11-24 09:00 UTC"
    store.close()


def test_a_queued_lease_goes_to_another_process_and_is_not_in_use(store):
    bound = store.bind(ask(store), Process(5000, 2), in_use=True)
    assert (bound.holder, bound.in_use, bound.state) == (Process(5000, 2), False, "queued")


def test_a_suspended_or_ended_lease_is_not_bound(store):
    lease = suspended(store)
    assert store.bind(lease, Process(5000, 2), in_use=True) is None
    store.release(lease, "alice", "given back")
    assert store.bind(lease, Process(5000, 2), in_use=True) is None


def test_a_suspended_lease_that_waits_leaves_the_queue_when_it_is_idle_again(store):
    lease = suspended(store)
    store.resume(lease, "alice")
    assert store.note_activity(lease, busy=True).waiting_since
    assert store.note_activity(lease, busy=False).waiting_since is None
    assert grant(store) == {}
    assert store.get(lease).state == "suspended"
    store.resume(lease, "alice")
    assert grant(store) == {lease: ("a",)}


def begin_suspension(store, lease, actor="pool"):
    """Begin to suspend a lease whose kernel says that it does nothing."""
    store.note_activity(lease, busy=False)
    return store.begin_suspension(lease, actor)


def suspended(store, user="alice"):
    see(store, "a")
    lease = ask(store, user)
    grant(store)
    store.bind(lease, HOLDER, in_use=True)
    store.end_suspension(begin_suspension(store, lease, user))
    return lease


def test_a_suspended_lease_frees_its_devices_and_comes_back_ahead(store):
    lease, fresh = suspended(store), ask(store)
    assert (store.get(lease).state, store.get(lease).devices) == ("suspended", ())
    store.resume(lease, "alice")
    assert grant(store) == {lease: ("a",)}
    assert store.get(fresh).state == "queued"
    assert store.end_restoration(store.get(lease)).step == ""


def test_a_suspended_lease_comes_back_only_when_asked_for(store):
    suspended(store)
    assert grant(store) == {}


def test_what_is_bound_to_another_process_meanwhile_is_not_suspended(store):
    see(store, "a")
    lease = ask(store)
    grant(store)
    store.bind(lease, HOLDER, in_use=True)
    begun = begin_suspension(store, lease)
    store.bind(lease, Process(5000, 2), in_use=True)
    assert store.end_suspension(begun) is None
    assert (store.get(lease).state, store.get(lease).devices) == ("granted", ("a",))


@pytest.mark.parametrize("failing", ["suspending", "restoring"])
def test_a_step_that_fails_leaves_the_books_as_they_were(store, failing):
    lease = suspended(store)
    store.resume(lease, "alice")
    grant(store)
    if failing == "restoring":
        assert store.end_restoration(store.get(lease), "no host memory").state == "suspended"
        assert DeviceBooks(store).all()[0].is_free
    else:
        store.end_restoration(store.get(lease))
        kept = store.end_suspension(begin_suspension(store, lease), "no host memory")
        assert (kept.state, kept.step, kept.devices) == ("granted", "", ("a",))


def test_use_is_counted_and_fades(database_url):
    wall = [datetime(2026, 11, 24, 9, tzinfo=UTC)]
    store = LeaseStore(database_url, BookClock(lambda: wall[0], uptime=lambda: wall[0].timestamp()))
    see(store, "a", "b")
    lease, share = ask(store, wanted=1), ask(store, "bob", memory=4096)
    grant(store)
    wall[0] += timedelta(seconds=100)
    store.release(lease, "alice", "given back")
    assert store.gpu_seconds() == {"alice": 100.0, "bob": 25.0}
    wall[0] += timedelta(seconds=store.rules.half_life)
    store.release(share, "bob", "given back")
    recent = store.situation().recent
    assert recent["alice"] == pytest.approx(50, rel=1e-3)
    assert recent["bob"] > recent["alice"]
    store.close()


class Day:
    """A store on a clock of its own, on which hours pass."""

    def __init__(self, url):
        self.wall = datetime(2026, 11, 24, 9, tzinfo=UTC)
        self.store = LeaseStore(url, BookClock(lambda: self.wall, uptime=lambda: self.wall.timestamp()))
        see(self.store, "a", "b", "c", "d")

    def hours(self, hours, each=0.25):
        """Let hours pass in which every lease lasts an hour; returns who got GPUs."""
        got = []
        for _ in range(round(hours / each)):
            self.wall += timedelta(hours=each)
            for lease in self.store.active():
                if lease.devices and self.wall - lease.granted_at >= timedelta(hours=1):
                    self.store.release(lease.id, lease.user, "done")
            got += [lease.user for lease in self.store.settle(decide).granted]
        return got


@pytest.fixture
def day(database_url):
    day = Day(database_url)
    yield day
    day.store.close()


def test_who_fills_the_queue_does_not_keep_others_from_their_turn(day):
    for _ in range(80):
        ask(day.store)
    day.hours(8)
    ask(day.store, "bob")
    assert "bob" in day.hours(1)
    for _ in range(8):
        ask(day.store, "bob")
        ask(day.store, "carol")
    got = day.hours(5)
    assert got[:8].count("alice") <= 2, "those who have used less are first"
    assert got.count("alice") >= 2, "and alice's turn comes all the same"


def test_asks_for_which_ones_own_quota_has_no_room_do_not_age(day):
    PolicyStore(day.store.database).set_quota(QuotaRule("user", "alice", Quota(gpus=1)))
    held, *waiting = [ask(day.store) for _ in range(3)]
    others = [ask(day.store, user) for user in ("carol", "dan", "eve")]
    assert grant(day.store).keys() == {held, *others}
    assert {day.store.get(one).ages_since for one in waiting} == {None}
    day.wall += timedelta(hours=10)
    theirs = ask(day.store, "bob")
    day.wall += timedelta(minutes=1)
    day.store.release(held, "alice", "given back")
    assert list(grant(day.store)) == [theirs]
    assert {day.store.get(one).ages_since for one in waiting} == {day.wall}, "now there is room for either"


def test_a_grant_lets_the_waiting_of_the_same_person_begin_anew(day):
    day.hours(1)
    first, *rest = [ask(day.store, "alice", wanted=4) for _ in range(3)]
    other = ask(day.store, "bob")
    asked = day.wall
    day.wall += timedelta(minutes=5)
    assert list(grant(day.store)) == [first]
    assert {day.store.get(one).ages_since for one in rest} == {day.wall}
    assert {day.store.get(one).waiting_since for one in rest} == {asked}, "people read for how long they wait"
    assert day.store.get(other).ages_since == asked


def test_a_clock_that_is_set_back_never_turns_the_books_back(database_url):
    wall, ticks = [datetime(2026, 11, 24, 9, tzinfo=UTC)], [0.0]
    clock = BookClock(lambda: wall[0], uptime=lambda: ticks[0])
    store = LeaseStore(database_url, clock)
    see(store, "a")
    lease = ask(store)
    grant(store)
    wall[0] -= timedelta(hours=1)
    ticks[0] += 60
    store.release(lease, "alice", "given back")
    assert store.gpu_seconds() == {"alice": 60.0}
    store.close()
    again = LeaseStore(database_url, BookClock(lambda: wall[0], uptime=lambda: ticks[0]))
    ask(again)
    times = [change.at for change in again.changes()]
    assert times == sorted(times)
    again.close()


def test_the_audit_tells_the_state(store):
    leases = [suspended(store), ask(store, "bob", 1), ask(store, "carol", 1)]
    grant(store)
    store.release(leases[2], "carol", "left")
    found = {one: store.get(one) for one in leases}
    assert replay(store.changes()) == {one: (lease.state, lease.devices) for one, lease in found.items()}
    assert [change.lease_id for change in store.changes(user="carol", limit=1)] == [leases[2]]


# What the database refuses, whatever the code does -----------------------------------------------------------


def written(store, statement):
    with store.database.transaction() as connection:
        connection.execute(statement)


@pytest.fixture
def held(store):
    """Two devices: ``a`` is held by the first lease, ``b`` shared by the second; a third one waits."""
    see(store, "a", "b")
    ids = ask(store), ask(store, "bob", memory=12 * 1024), ask(store, "carol")
    assert grant(store) == {ids[0]: ("a",), ids[1]: ("b",)}
    return ids


@pytest.mark.parametrize(
    ("device", "memory"),
    [("a", None), ("a", 1), ("b", None), ("b", 4 * 1024 + 1), ("b", 0), ("b", -1), ("unknown", None)],
)
def test_the_database_refuses_what_is_taken(store, held, device, memory):
    before = DeviceBooks(store).all()
    written(store, update(leases).where(leases.c.id == held[2]).values(state="granted", waiting_since=None))
    with pytest.raises(IntegrityError):
        written(store, insert(holdings).values(device=device, lease_id=held[2], position=0, memory=memory))
    assert DeviceBooks(store).all() == before


def test_the_database_refuses_devices_to_a_lease_that_waits(store, held):
    store.release(held[0], "alice", "given back")
    with pytest.raises(IntegrityError, match="only a granted lease holds devices"):
        written(store, insert(holdings).values(device="a", lease_id=held[2], position=0))


def test_the_database_refuses_a_device_that_does_not_work(store, held):
    store.release(held[0], "alice", "given back")
    written(store, update(devices).where(devices.c.uuid == "a").values(state="failing"))
    with pytest.raises(IntegrityError, match="does not work"):
        written(store, insert(holdings).values(device="a", lease_id=held[1], position=1))


@pytest.mark.parametrize("state", ["queued", "suspended", "released"])
def test_the_database_refuses_to_end_a_lease_that_holds_devices(store, held, state):
    with pytest.raises(IntegrityError, match="only a granted lease holds devices"):
        written(store, update(leases).where(leases.c.id == held[0]).values(state=state))


def test_the_database_refuses_to_change_a_holding(store, held):
    with pytest.raises(IntegrityError, match="never changed"):
        written(store, update(holdings).values(device="b"))


def test_the_database_counts_what_is_held(store, held):
    assert [(one.exclusives, one.shared) for one in DeviceBooks(store).all()] == [(1, 0), (0, 12 * 1024)]
    store.release(held[0], "alice", "given back")
    store.release(held[1], "bob", "given back")
    assert all(one.is_free for one in DeviceBooks(store).all())


def test_a_device_whose_memory_shrinks_keeps_its_shares(store, held):
    see(store, "a", "b", memory=8)
    assert DeviceBooks(store).all()[1].memory == 16 * 1024
