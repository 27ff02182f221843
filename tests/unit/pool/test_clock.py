"""Time in the books: it passes as fast as real time, whatever is done to the machine's clock or to the pool."""

from datetime import UTC, datetime, timedelta

import pytest
from armillary_hub.pool.clock import READ_EVERY, BookClock
from armillary_hub.pool.situation import Rules
from support.pool_world import World

ADMIN = "admin:root"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=1, rules=Rules(keep=365 * 86400.0))
    yield world
    world.close()


def kernel(world, user="alice"):
    lease = world.ask(user, world.processes.start()).json()["id"]
    world.bind(user, lease, world.processes.start())
    return lease


def seconds_used(world, user="alice"):
    """Return what Prometheus is told."""
    lines = world.request("GET", "metrics", ADMIN).text.splitlines()
    return next(
        float(one.split()[-1]) for one in lines if one.startswith(f'armillary_gpu_seconds_total{{user="{user}"')
    )


def look(world, **past):
    """Pass some time and let the pool look, as it does all the while."""
    for _ in range(round(timedelta(**past) / timedelta(seconds=READ_EVERY))):
        world.pass_time(READ_EVERY)
        world.pool.watch()


def ahead(world):
    """Return by how many seconds the books are ahead of the machine's time."""
    return (world.store.clock.now() - world.wall).total_seconds()


@pytest.mark.parametrize("away", [timedelta(days=30), timedelta(days=-30)])
def test_a_clock_that_is_wrong_for_a_moment_makes_no_use(world, away):
    lease = kernel(world)
    look(world, minutes=1)
    world.wall += away
    look(world, seconds=10)
    world.page("", "alice")
    world.wall -= away
    look(world, seconds=50)
    world.request("DELETE", f"leases/{lease}", "alice")
    assert world.store.gpu_seconds()["alice"] == pytest.approx(120, abs=6)
    look(world, minutes=5)
    assert ahead(world) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_was_set_is_followed_slowly_and_use_is_counted_meanwhile(world, jump):
    kernel(world)
    world.wall += jump
    look(world, minutes=20)
    assert seconds_used(world) == pytest.approx(1200, rel=0.11)
    look(world, hours=12)
    assert ahead(world) == pytest.approx(0, abs=1)
    times = [line["at"] for line in world.audit()]
    assert times == sorted(times)


def test_a_clock_that_is_set_forward_makes_nobody_idle(world):
    lease = kernel(world)
    world.request("PUT", f"leases/{lease}/activity", "alice", {"busy": False})
    waiting = world.ask("bob", world.processes.start()).json()["id"]
    world.wall += timedelta(minutes=11)
    for _ in range(30):
        look(world, seconds=10)
        world.pool.look("bob", waiting)
    assert world.rows(f"SELECT step FROM leases WHERE id = '{lease}'") == [{"step": ""}]


@pytest.mark.parametrize("at_a_start", [False, True])
def test_nothing_is_forgotten_because_the_clock_was_wrong(world, at_a_start):
    for user in ("alice", "bob"):
        world.request("DELETE", f"leases/{kernel(world, user)}", user)
    before = world.audit()
    world.wall += timedelta(days=400)
    if at_a_start:
        world.restart_machine()
        world.wall -= timedelta(days=400)
    world.pool.watch()
    world.pool.pruning.prune()
    assert world.audit() == before


def test_use_counts_over_a_clock_that_is_set_back_and_a_killed_pool(world):
    kernel(world)
    world.wall -= timedelta(hours=2)
    look(world, minutes=30)
    world.pass_time(1795)
    before = seconds_used(world)
    world.kill_pool()
    world.start_pool()
    assert seconds_used(world) == before == pytest.approx(3595, rel=0.11)
    world.kill_pool()
    world.pass_time(3600)
    world.start_pool()
    assert seconds_used(world) == pytest.approx(before + 3600, abs=6)


@pytest.mark.parametrize("off", [3 * 86400, -3600])
def test_after_a_start_of_the_machine_all_holders_are_dead_whoever_has_their_pids(world, off):
    lease = kernel(world)
    look(world, minutes=2)
    waiting = world.ask("bob", world.processes.start()).json()["id"]
    world.pass_time(8)
    before = seconds_used(world)
    world.restart_machine(off)
    for _ in range(9):
        world.processes.start()
    world.pool.watch()
    ended = world.rows("SELECT id, state, reason FROM leases")
    why = {"state": "released", "reason": "the machine was started anew"}
    assert ended == [{"id": one, **why} for one in (lease, waiting)]
    assert before <= seconds_used(world) <= before + READ_EVERY, "nobody pays for the time that the machine was off"
    assert ahead(world) == pytest.approx(max(0, -off), abs=11)
    times = [line["at"] for line in world.audit()]
    assert times == sorted(times)


def test_a_machine_that_does_not_name_its_starts_is_known_by_its_uptime():
    def clock(uptime):
        return BookClock(lambda: datetime(2026, 11, 24, 9, tzinfo=UTC), uptime=lambda: uptime, boot="")

    kept = clock(100.0).read()
    assert not clock(100.5).go_on(kept, None)
    assert clock(5.0).go_on(kept, None)
