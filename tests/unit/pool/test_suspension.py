"""Steps of leases: what the books say of those that fail, and of those whose outcome nobody knows."""

import itertools

import pytest
from armillary_hub.pool.situation import Rules
from armillary_hub.pool.suspension import FIRST_RETRY, LONGEST_RETRY
from support.pool_world import World


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=1)
    yield world
    world.close()


def kernel(world, user="alice"):
    """A kernel that is idle."""
    lease = world.ask(user, world.processes.start(), devices=1).json()["id"]
    holder = world.processes.start()
    world.bind(user, lease, holder)
    return lease, holder


def look(world, lease, user="alice"):
    found = world.request("GET", f"leases/{lease}", user).json()
    return found["state"], found["step"], found["reason"]


def suspended(world):
    lease, holder = kernel(world)
    world.suspend("alice", lease)
    world.finish_task()
    assert look(world, lease)[:2] == ("suspended", "")
    return lease, holder


def resume(world, lease):
    return world.request("POST", f"leases/{lease}/resume", "alice").json()


def fail(world, how):
    world.checkpoints.fails = how
    world.finish_task()
    world.checkpoints.fails = ""


@pytest.mark.parametrize("how", ["silent", "silent when it is done"])
def test_while_nobody_knows_whether_it_is_suspended_it_keeps_its_gpu(world, how):
    lease, _holder = kernel(world)
    world.suspend("alice", lease)
    waiting = world.ask("bob", world.processes.start(), devices=1).json()["id"]
    fail(world, how)
    state, step, reason = look(world, lease)
    assert (state, step) == ("granted", "suspending")
    assert reason.startswith("not known whether it is suspended: ")
    world.pool.watch()
    assert world.tasks == [], "the driver is not asked again at once"
    assert look(world, waiting, "bob")[0] == "queued"
    world.pass_time(FIRST_RETRY)
    world.pool.watch()
    world.finish_task()
    assert look(world, lease)[0] == "suspended"
    assert look(world, waiting, "bob")[0] == "granted"


@pytest.mark.parametrize("how", ["silent", "silent when it is done"])
def test_while_nobody_knows_whether_it_is_restored_it_keeps_its_gpu(world, how):
    lease, holder = suspended(world)
    resume(world, lease)
    fail(world, how)
    assert look(world, lease)[:2] == ("granted", "restoring")
    world.kill_pool()
    world.start_pool()
    world.finish_task()
    assert look(world, lease)[:2] == ("granted", "")
    assert holder not in world.checkpoints.suspended


def test_it_is_asked_less_and_less_often_and_said_once(world):
    lease, _ = kernel(world)
    world.suspend("alice", lease)
    times = []
    for _ in range(400):
        if world.tasks:
            times.append(world.ticks)
            fail(world, "silent")
        world.pass_time(0.5)
        world.pool.watch()
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits[:5] == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert set(waits[5:]) == {LONGEST_RETRY}
    said = [line for line in world.audit() if line["reason"].startswith("not known")]
    assert len(said) == 1


def test_whatever_goes_wrong_in_a_step_it_is_taken_again(world, monkeypatch, caplog):
    lease, _ = kernel(world)
    world.suspend("alice", lease)
    monkeypatch.setattr(world.checkpoints, "suspend", lambda *_, **__: 1 / 0)
    world.finish_task()
    assert "a step could not be finished" in caplog.text
    assert look(world, lease)[:2] == ("granted", "suspending")
    monkeypatch.undo()
    world.pass_time(FIRST_RETRY)
    world.pool.watch()
    world.finish_task()
    assert look(world, lease)[0] == "suspended"


def test_one_that_could_not_be_restored_asks_again_after_a_while_in_which_others_may_have_the_gpu(world):
    lease, _ = suspended(world)
    for lasting in (2, 4):
        assert resume(world, lease)["step"] == "restoring"
        fail(world, "for now")
        state, step, reason = look(world, lease)
        assert (state, step, reason) == ("suspended", "", "not restored: There is not enough memory.")
        world.pass_time(lasting - 1)
        assert resume(world, lease)["state"] == "suspended"
        world.pass_time(1)
    resume(world, lease)
    world.finish_task()
    assert look(world, lease)[:2] == ("granted", "")


def test_what_a_dead_holder_left_behind_is_off_the_gpu_before_it_is_granted_anew(world):
    _, holder = kernel(world)
    child = world.processes.start_child(holder)
    waiting = world.ask("bob", world.processes.start(), devices=1).json()["id"]
    world.processes.end(holder)
    for _ in range(2):
        world.pool.watch()
    assert not world.processes.is_alive(child)
    world.pool.watch()
    assert look(world, waiting, "bob")[0] == "granted"


@pytest.mark.parametrize("alive", [True, False])
def test_a_lease_that_is_given_back_for_a_dead_process_leaves_nothing_behind(world, alive):
    lease, holder = kernel(world)
    child = world.processes.start_child(holder)
    if not alive:
        world.processes.end(holder)
    world.request("DELETE", f"leases/{lease}", "alice")
    assert world.processes.is_alive(child) is alive


def test_a_process_that_uses_the_gpus_of_two_leases_is_not_suspended_for_one_of_them(tmp_path):
    world = World(tmp_path, gpus=2, rules=Rules(restart_warning=60))
    try:
        process = world.processes.start()
        idle, busy = (world.ask("alice", process).json()["id"] for _ in range(2))
        for lease in (idle, busy):
            world.bind("alice", lease, process)
        answer = world.suspend("alice", idle)
        assert (answer.status_code, answer.json()["error"]["what"]) == (
            409,
            "The lease cannot be suspended: its process uses the GPUs of another lease, too.",
        )
        world.ask("bob", world.processes.start())
        world.pass_time(3600)
        world.pool.look("bob", world.rows("SELECT id FROM leases WHERE user = 'bob'")[0]["id"])
        world.pool.watch()
        assert world.tasks == []
        assert [look(world, lease)[:2] for lease in (idle, busy)] == [("granted", "")] * 2
        assert world.rows("SELECT id FROM leases WHERE ends_at IS NOT NULL") == []
        world.request("DELETE", f"leases/{busy}", "alice")
        assert world.suspend("alice", idle).status_code == 200
    finally:
        world.close()
