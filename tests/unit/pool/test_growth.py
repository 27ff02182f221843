"""Books that have grown for years: what is asked of them often reads little, and what is long over is forgotten."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from armillary_hub.pool.audit_counts import AuditCounts
from armillary_hub.pool.clock import BookClock
from armillary_hub.pool.database import audit, leases, uses
from armillary_hub.pool.device_books import DeviceBooks
from armillary_hub.pool.devices import Device
from armillary_hub.pool.policy import PolicyStore
from armillary_hub.pool.pruning import Pruning
from armillary_hub.pool.quotas import Quota, QuotaRule
from armillary_hub.pool.records import replay
from armillary_hub.pool.reports import Reports
from armillary_hub.pool.scheduling import decide
from armillary_hub.pool.situation import Rules
from armillary_hub.pool.store import LeaseStore
from armillary_kernels.processes import Process
from sqlalchemy import Engine, event, func, select

HOLDER = Process(4000, 1)
DAY = timedelta(days=1)

#: The tables to which every lease adds.
GROWING = {"leases", "audit", "uses"}


@contextlib.contextmanager
def whole_tables_read():
    """Yield the statements that SQLite cannot answer without reading all that has ever been."""
    found = []

    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            plan = [line[-1] for line in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()]
            scanned = {line.split()[1] for line in plan if line.startswith("SCAN")}
            # What goes through a table in the order of its numbers stops at the limit.
            stops = "LIMIT" in statement and not any("TEMP B-TREE" in line for line in plan)
            found.extend(statement for _ in scanned & GROWING if not stops)

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


class Wall:
    def __init__(self):
        self.begun = self.time = datetime(2026, 11, 24, 9, tzinfo=UTC)

    def clock(self):
        return BookClock(lambda: self.time, uptime=lambda: (self.time - self.begun).total_seconds())


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def store(database_url, wall):
    store = LeaseStore(database_url, wall.clock(), Rules(keep=30 * DAY.total_seconds()))
    DeviceBooks(store).see([Device("a", 0, "GPU", 2**34)], anew=False)
    yield store
    store.close()


def a_life(store):
    """Let a lease go through all that a lease goes through; returns its id."""
    lease = store.ask("alice", "kernel", "", 1, HOLDER).id
    store.settle(decide)
    store.bind(lease, Process(5000, 2), in_use=True)
    store.note_activity(lease, busy=False)
    store.end_suspension(store.begin_suspension(lease, "alice"))
    store.resume(lease, "alice")
    store.settle(decide)
    store.end_restoration(store.get(lease))
    store.release(lease, "alice", "given back")
    return lease


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_that_happens_often_reads_all_that_has_ever_been(store, database_url, wall):
    PolicyStore(store.database).set_quota(QuotaRule("default", "", Quota(gpus=4, gpu_hours=8)))
    reports = Reports(store)
    store.close()
    with whole_tables_read() as found:
        store = LeaseStore(database_url, wall.clock(), store.rules)
        reports = Reports(store)
        a_life(store)
        for look in (store.active, store.situation, reports.lasted, store.gpu_seconds, reports.suspended_since):
            look()
        store.waiting("alice")
        store.changes(user="alice", before=10, limit=200)
        reports.day_hours("alice")
        Pruning(store, AuditCounts(reports)).prune()
    store.close()
    assert not found, "\n".join(found)


def lines(store):
    with store.database.reading() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) for table in (leases, audit, uses)]


def test_what_is_long_over_is_forgotten_and_counts_all_the_same(store, database_url, wall):
    old = a_life(store)
    store.ask("bob", "kernel", "", 1, HOLDER)
    standing = store.settle(decide).granted[0]
    wall.time += 20 * DAY
    young = store.ask("alice", "kernel", "", 1, HOLDER).id
    store.release(young, "alice", "left the queue")
    wall.time += 15 * DAY
    before, counts = store.gpu_seconds(), AuditCounts(Reports(store))
    counts.read_on()
    Pruning(store, AuditCounts(Reports(store))).prune()
    assert store.get(old) is None
    assert replay(store.changes()) == {standing.id: ("granted", ("a",)), young: ("released", ())}
    assert lines(store) == [2, 4, 0]
    assert store.gpu_seconds() == before
    again = AuditCounts(Reports(store))
    again.read_on()
    assert (again.waits, again.steps) == (counts.waits, counts.steps)
    assert again.waits.classes[0] == 3


def test_who_waits_over_a_tidying_has_waited_all_the_time(store, wall):
    holding, waiting = (store.ask(user, "kernel", "", 1, HOLDER).id for user in ("alice", "bob"))
    store.settle(decide)
    Pruning(store, AuditCounts(Reports(store))).prune()
    wall.time += timedelta(seconds=50)
    store.release(holding, "alice", "given back")
    store.settle(decide)
    counts = AuditCounts(Reports(store))
    counts.read_on()
    assert (store.get(waiting).state, counts.waits.total) == ("granted", 50.0)


def test_only_what_is_new_since_the_last_tidying_is_counted_at_a_start(store, monkeypatch):
    a_life(store)
    Pruning(store, AuditCounts(Reports(store))).prune()
    a_life(store)
    reports, read = Reports(store), []
    after = reports.changes_after
    monkeypatch.setattr(reports, "changes_after", lambda *what: read.append(after(*what)) or read[-1])
    AuditCounts(reports).read_on()
    assert sum(map(len, read)) == len(store.changes()) / 2


def test_everything_is_kept_where_the_admin_wants_it(store, wall):
    store.rules = Rules(keep=None)
    a_life(store)
    before = lines(store)
    wall.time += 1000 * DAY
    store.ask("bob", "kernel", "", 1, HOLDER)
    Pruning(store, AuditCounts(Reports(store))).prune()
    assert lines(store)[0] == before[0] + 1


def test_the_last_line_of_the_audit_stays_so_that_numbers_and_time_go_on(store, wall):
    a_life(store)
    last = store.changes()[-1]
    wall.time += 1000 * DAY
    Pruning(store, AuditCounts(Reports(store))).prune()
    assert store.changes()[-1] == last
