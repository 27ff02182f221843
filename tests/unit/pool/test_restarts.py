"""Idle kernels that cannot be suspended: warned, restarted where the admin allows it, and never in silence."""

from dataclasses import replace
from datetime import timedelta

import pytest
from armillary_hub.pool import pids
from armillary_hub.pool.devices import GpuProcess, Reading, Readings
from armillary_hub.pool.situation import Rules
from armillary_kernels.restarts import is_restart
from support.pool_world import World

RULES = Rules(idle_after=60.0, restart_warning=600.0)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=1, rules=RULES)
    yield world
    world.close()


def kernel(world, user="alice", **what):
    """A kernel that is idle and cannot be suspended."""
    lease = world.ask(user, world.processes.start(), **{"devices": 1, **what}).json()["id"]
    holder = world.processes.start()
    world.bind(user, lease, holder)
    world.checkpoints.unable.add(holder)
    world.request("PUT", f"leases/{lease}/activity", user, {"busy": False})
    return lease, holder


def someone_waits(world):
    return world.ask("bob", world.processes.start(), devices=1).json()["id"]


def pass_time(world, seconds, waiting):
    """Let time pass in which somebody waits."""
    world.pass_time(seconds)
    if waiting:
        world.request("GET", f"leases/{waiting}", "bob")
    world.pool.watch()


def look(world, lease):
    return world.request("GET", f"leases/{lease}", "alice").json()


def test_it_is_warned_and_then_ended_for_the_one_who_waits(world):
    lease, holder = kernel(world)
    waiting = someone_waits(world)
    pass_time(world, 59, waiting)
    assert "restart_at" not in look(world, lease)
    pass_time(world, 1, waiting)
    shown = look(world, lease)
    assert shown["restart_at"] == (world.store.clock.now() + timedelta(seconds=600)).isoformat()
    assert shown["reason"].endswith("others wait for its GPU, and it cannot be suspended: it uses managed memory")
    pass_time(world, 599, waiting)
    assert (look(world, lease)["step"], world.tasks) == ("", [])
    pass_time(world, 1, waiting)
    assert look(world, lease)["step"] == "suspending", "its kernel must not begin a cell any more"
    world.finish_task()
    ended = look(world, lease)
    assert (ended["state"], is_restart(ended["reason"])) == ("released", True)
    assert not world.processes.is_alive(holder)
    assert world.request("GET", f"leases/{waiting}", "bob").json()["state"] == "granted"


@pytest.mark.parametrize("event", ["busy", "nobody waits", "bound anew"])
def test_it_is_called_off(world, event):
    lease, holder = kernel(world)
    waiting = someone_waits(world)
    pass_time(world, 60, waiting)
    assert "restart_at" in look(world, lease)
    if event == "busy":
        world.request("PUT", f"leases/{lease}/activity", "alice", {"busy": True})
        assert world.audit()[-1]["reason"] == "is busy, and not restarted"
    elif event == "bound anew":
        world.bind("alice", lease, world.processes.start())
    else:
        world.request("DELETE", f"leases/{waiting}", "bob")
        world.pool.watch()
        assert look(world, lease)["reason"] == "is not restarted: nobody waits for its GPU any more"
    assert "restart_at" not in look(world, lease)
    pass_time(world, 900, None)
    assert (look(world, lease)["state"], world.tasks) == ("granted", [])
    assert world.processes.is_alive(holder)


def test_who_was_busy_for_a_moment_meanwhile_is_not_ended_unwarned(world, monkeypatch):
    lease, holder = kernel(world)
    waiting = someone_waits(world)
    pass_time(world, 60, waiting)
    world.pass_time(600)
    world.request("GET", f"leases/{waiting}", "bob")
    needed = world.pool._restarts._needed

    def a_cell_runs(refusals):
        found = needed(refusals)
        for busy in (True, False):
            world.request("PUT", f"leases/{lease}/activity", "alice", {"busy": busy})
        return found

    monkeypatch.setattr(world.pool._restarts, "_needed", a_cell_runs)
    world.pool.watch()
    assert (look(world, lease)["step"], world.tasks) == ("", [])
    assert world.processes.is_alive(holder)


def test_a_clock_that_is_set_forward_takes_nothing_of_the_warning(world):
    lease, _ = kernel(world)
    waiting = someone_waits(world)
    pass_time(world, 60, waiting)
    pass_time(world, 100, waiting)
    world.wall += timedelta(days=2)
    pass_time(world, 1, waiting)
    shown = look(world, lease)
    assert shown["restart_at"] == (world.store.clock.now() + timedelta(seconds=499)).isoformat()
    pass_time(world, 498, waiting)
    assert look(world, lease)["step"] == ""
    pass_time(world, 1, waiting)
    assert look(world, lease)["step"] == "suspending"


@pytest.mark.parametrize(("away", "left"), [(100, 500), (700, 600)])
def test_a_warning_outlives_the_pool(world, away, left):
    lease, _ = kernel(world)
    waiting = someone_waits(world)
    pass_time(world, 60, waiting)
    world.kill_pool()
    world.pass_time(away)
    world.start_pool()
    pass_time(world, 0, waiting)
    pass_time(world, left - 1, waiting)
    assert look(world, lease)["step"] == ""
    pass_time(world, 1, waiting)
    assert look(world, lease)["step"] == "suspending"


@pytest.mark.parametrize("purpose", ["worker", "app", "job"])
def test_only_kernels_are_restarted(world, purpose):
    lease, _ = kernel(world, purpose=purpose)
    pass_time(world, 60, someone_waits(world))
    assert "restart_at" not in look(world, lease)


def test_one_that_can_be_suspended_is_not_restarted(world):
    lease, holder = kernel(world)
    world.checkpoints.unable.discard(holder)
    pass_time(world, 60, someone_waits(world))
    assert look(world, lease)["step"] == "suspending"
    assert "restart_at" not in look(world, lease)


def test_nothing_of_it_where_the_admin_does_not_allow_it(tmp_path):
    world = World(tmp_path, gpus=1, rules=replace(RULES, restart_warning=None))
    lease, _ = kernel(world)
    pass_time(world, 60, someone_waits(world))
    assert "restart_at" not in look(world, lease)
    world.close()


def test_a_pool_that_is_killed_while_it_ends_one_leaves_books_that_balance(world):
    lease, holder = kernel(world)
    waiting = someone_waits(world)
    for seconds in (60, 600):
        pass_time(world, seconds, waiting)
    world.kill_pool()
    world.start_pool()
    world.checkpoints.fails = "for now"  # it cannot be suspended, so it keeps its GPU
    world.finish_task()
    assert (look(world, lease)["state"], look(world, lease)["step"]) == ("granted", "")
    assert world.processes.is_alive(holder)


@pytest.mark.parametrize("listed", ["here", "foreign", "not"])
def test_a_kernel_that_runs_no_cell_and_has_work_on_its_gpu_is_not_idle(world, monkeypatch, listed):
    lease, holder = kernel(world)
    world.checkpoints.unable.discard(holder)
    monkeypatch.setattr(pids, "SEES_ALL_PIDS", listed == "here")
    # The pretended pid has no family on this machine.
    monkeypatch.setattr("armillary_hub.pool.idleness.own_pids", lambda holders: {pid: {pid} for pid in holders})
    pid = {"here": holder.pid, "foreign": 2**23}.get(listed)

    def nvml_says(share):
        processes = (GpuProcess(pid, "GPU-0", 100, share),) if pid else ()
        readings = Readings((Reading("GPU-0", 100, share, 0),), processes)
        monkeypatch.setattr(world.gpus, "readings", lambda: readings)

    waiting = someone_waits(world)
    nvml_says(0.9)
    for _ in range(9):
        world.pool.take_sample()
        pass_time(world, 10, waiting)
    assert look(world, lease)["step"] == ""
    nvml_says(0.0)
    for _ in range(6):
        world.pool.take_sample()
        pass_time(world, 10, waiting)
    assert look(world, lease)["step"] == "suspending"
