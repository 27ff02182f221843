"""The pool's REST API beside leases: what admins set, the history, suspension, and the description of it all."""

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from armillary_hub.pool import openapi
from armillary_hub.pool.devices import Device
from armillary_hub.pool.openapi import OPERATIONS
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.quotas import Quota, QuotaRule
from armillary_hub.pool.service import PREFIX, PoolApi
from armillary_hub.pool.situation import Rules
from armillary_hub.pool.suspension import FIRST_RETRY
from armillary_hub.pool.together import PATIENCE
from armillary_kernels.leases import LeaseLostError, read_lease
from support.pool_world import World

ADMIN = "admin:root"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=2)
    yield world
    world.close()


def granted(world, user, in_use=True, **what):
    """Ask, and bind a kernel to what is granted; returns the lease's id."""
    answer = world.ask(user, world.processes.start(), **{"devices": 1, **what})
    assert answer.status_code == 201, answer.text
    world.bind(user, answer.json()["id"], world.processes.start(), in_use)
    return answer.json()["id"]


def test_a_share_says_how_much_memory_it_is(world):
    first, second = granted(world, "alice", memory=4096), granted(world, "bob", memory=8192)
    state = world.request("GET", "", ADMIN).json()
    assert [lease["environment"]["CUDA_VISIBLE_DEVICES"] for lease in state["leases"]] == ["GPU-0", "GPU-0"]
    assert state["leases"][1]["environment"]["ARMILLARY_GPU_MEMORY_MIB"] == "8192"
    assert (state["devices"][0]["leases"], state["devices"][0]["shared"]) == ([first, second], 12 * 2**30)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"devices": 3}, "3 GPUs were asked for; this machine has 2."),
        ({"memory": 16 * 1024 + 1}, "16385 MiB of a GPU were asked for; the largest one here has 16384."),
        ({"memory": 1, "devices": 2}, "a share is of one GPU"),
        ({"memory": 1, "together": {"id": "f", "size": 2}}, "shares are asked for one by one: leave out together"),
        ({"devices": 1, "together": {"id": "f", "size": 3}}, "3 GPUs were asked for; this machine has 2."),
        ({"together": {"id": "no hex", "size": 0}}, "together.size: Input should be greater than or equal to 1"),
        ({"devices": 0}, "devices: Input should be greater than or equal to 1"),
        ({"purpose": "mining"}, "purpose: Input should be 'kernel', 'worker', 'app' or 'job'"),
    ],
)
def test_what_cannot_be_given_is_refused(world, what, said):
    answer = world.ask("alice", world.processes.start(), **what)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["what"]
    assert world.audit() == []


def test_a_person_can_only_fill_so_much_of_the_queue(tmp_path):
    world = World(tmp_path, gpus=1, rules=Rules(most_waiting=2))
    first, *places = [world.ask("alice", world.processes.start()) for _ in range(3)]
    assert [answer.status_code for answer in (first, *places)] == [201, 202, 202]
    refused = world.ask("alice", world.processes.start())
    assert (refused.status_code, refused.json()["error"]["what"]) == (
        429,
        "2 asks of alice wait already, as many as one person may have.",
    )
    assert world.ask("bob", world.processes.start()).status_code == 202
    world.request("DELETE", f"leases/{places[0].json()['id']}", "alice")
    assert world.ask("alice", world.processes.start()).status_code == 202
    world.close()


def test_asks_that_belong_together_are_granted_together(world):
    pair = {"devices": 1, "together": {"id": "f", "size": 2}}
    first, theirs = (world.ask(user, world.processes.start(), **pair) for user in ("alice", "bob"))
    assert (first.status_code, theirs.status_code) == (202, 202)
    second = world.ask("alice", world.processes.start(), **pair)
    assert (second.status_code, second.json()["together"]) == (201, pair["together"])
    assert world.request("GET", f"leases/{first.json()['id']}", "alice").json()["state"] == "granted"
    assert world.ask("bob", world.processes.start(), **pair).status_code == 202
    world.request("DELETE", f"leases/{first.json()['id']}", "alice")
    assert world.request("GET", f"leases/{theirs.json()['id']}", "bob").json()["state"] == "queued"
    world.request("DELETE", f"leases/{second.json()['id']}", "alice")
    held = world.request("GET", "", ADMIN).json()["leases"]
    assert [(lease["user"], lease["state"]) for lease in held] == [("bob", "granted")] * 2


def test_a_group_goes_on_without_one_that_left(world):
    pair = {"devices": 1, "together": {"id": "f", "size": 2}}
    with_other = granted(world, "bob")
    first, second = (world.ask("alice", world.processes.start(), **pair).json()["id"] for _ in range(2))
    world.request("DELETE", f"leases/{first}", "alice")
    assert world.request("GET", f"leases/{second}", "alice").json()["state"] == "queued"
    world.pass_time(PATIENCE.total_seconds())
    world.pool.watch()
    assert world.request("GET", f"leases/{second}", "alice").json()["state"] == "granted"
    assert world.request("GET", f"leases/{with_other}", "bob").json()["state"] == "granted"


def test_a_quota_refuses_what_can_never_be_and_queues_the_rest(world):
    world.request("PUT", "quotas/group/class", ADMIN, {"gpus": 1, "gpu_hours": None, "weight": 2})
    answer = world.ask("alice@class", world.processes.start(), devices=2)
    assert answer.json()["error"]["what"] == "2 GPUs were asked for; your quota is 1 at once."
    pair = {"devices": 1, "together": {"id": "f", "size": 2}}
    assert world.ask("alice@class", world.processes.start(), **pair).json() == answer.json()
    granted(world, "alice@class")
    waiting = world.ask("alice@class", world.processes.start(), devices=1).json()
    assert (waiting["state"], waiting["waits_for"], waiting["estimate"]) == ("queued", "quota", None)
    mine = world.request("GET", "quotas", "alice@class").json()
    assert mine == {"yours": {"gpus": 1.0, "gpu_hours": None, "weight": 2.0}, "quotas": []}
    assert world.request("DELETE", "quotas/group/class", ADMIN).status_code == 204
    assert world.request("GET", f"leases/{waiting['id']}", "alice@class").json()["state"] == "granted"


@pytest.mark.parametrize(
    ("quota", "what", "said"),
    [
        (
            {"gpus": 0.4},
            {"memory": 8192},
            "8192 MiB of a GPU were asked for, 0.5 of it; your quota is 0.4 GPUs at once.",
        ),
        ({"gpus": 0.5}, {"memory": 8193}, "8193 MiB of a GPU were asked for, 0.500061 of it; your quota is 0.5 GPUs"),
        ({"gpus": 0}, {"memory": 1}, "your quota is 0 GPUs at once. Ask an admin for a larger quota."),
        (
            {"gpus": 0.5},
            {"devices": 1},
            "A whole GPU was asked for; your quota is 0.5 GPUs at once. "
            "Ask for less, such as some of one GPU's memory, or ask an admin for a larger quota.",
        ),
        ({"gpus": 1}, {"devices": 2}, "2 GPUs were asked for; your quota is 1 at once. Ask for fewer, or ask an admin"),
        ({"gpus": 0.5}, {"memory": 8192}, None),
        ({"gpu_hours": 0}, {"devices": 1}, "Your quota is 0 GPU-hours a day."),
        ({"gpu_hours": 0}, {"memory": 1}, "Your quota is 0 GPU-hours a day."),
        ({"gpu_hours": 0.1}, {"devices": 1}, None),
    ],
)
def test_what_a_quota_never_allows_does_not_wait_for_ever(world, quota, what, said):
    world.request("PUT", "quotas/user/alice", ADMIN, quota)
    answer = world.ask("alice", world.processes.start(), **what)
    assert answer.status_code == (201 if said is None else 422), answer.text
    assert said is None or said in " ".join(answer.json()["error"].values())


def test_several_mig_instances_for_one_process_are_refused(world):
    world.gpus.all = tuple(Device(f"MIG-{n}", n, "H100 MIG 1g.10gb", 2**33) for n in range(2))
    world.kill_pool()
    world.start_pool()
    answer = world.ask("alice", world.processes.start(), devices=2)
    assert answer.status_code == 422
    assert "a process can use but one MIG instance" in answer.json()["error"]["what"]
    pair = {"devices": 1, "together": {"id": "f", "size": 2}}
    assert [world.ask("alice", world.processes.start(), **pair).status_code for _ in range(2)] == [202, 201]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("quotas/user/alice", {"gpus": -1}, 422),
        ("quotas/user/alice", {"weight": 0}, 422),
        ("quotas/user/alice", {"cpus": 1}, 422),
        ("quotas/planet/earth", {"gpus": 1}, 404),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(world, path, body, status):
    assert world.request("PUT", path, ADMIN, body).status_code == status
    assert world.rows("SELECT * FROM quotas") == []


TUESDAY = {"scope": "group", "name": "class", "devices": 2, "starts": "2026-11-24T09:00", "ends": "2026-11-24T11:00"}


def test_a_reservation_is_kept_and_removed(world):
    made = world.request("POST", "reservations", ADMIN, {**TUESDAY, "weekly": True, "note": "vision course"}).json()
    shown = world.request("GET", "reservations", "bob").json()["reservations"]
    assert shown == [made]
    assert (made["made_by"], made["timezone"], made["starts"]) == ("root", "UTC", "2026-11-24T09:00:00")
    waiting = world.ask("bob", world.processes.start(), devices=1).json()
    assert waiting["waits_for"] == "devices"
    granted(world, "alice@class")
    world.request("DELETE", f"reservations/{made['id']}", ADMIN)
    assert world.request("GET", f"leases/{waiting['id']}", "bob").json()["state"] == "granted"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"devices": 3}, "3 GPUs were to be reserved; this machine has 2."),
        ({"ends": "2026-11-24T09:00"}, "it must end after it starts"),
        ({"starts": "2026-11-24T09:00+01:00"}, "a local time has no offset"),
        ({"timezone": "Mars/Olympus"}, "there is no timezone 'Mars/Olympus'"),
        ({"starts": "soon"}, "starts"),
        ({"starts": "0001-01-01T00:00", "timezone": "Asia/Tokyo"}, "the year must be between 2000 and 2999"),
        ({"ends": "9999-12-31T23:59", "timezone": "America/New_York"}, "the year must be between 2000 and 2999"),
        ({"weekly": True, "ends": "2026-12-24T09:00"}, "lasts a week at most"),
        ({"starts": "2026-10-24T09:00", "ends": "2026-10-24T11:00"}, "The reservation is over already."),
        (
            {"starts": "2027-03-28T02:10", "ends": "2027-03-28T03:10", "timezone": "Europe/Berlin"},
            "starts: Value error, this time does not exist in Europe/Berlin: the clocks are put forward then",
        ),
        (
            {"starts": "2027-03-28T01:10", "ends": "2027-03-28T02:10", "timezone": "Europe/Berlin"},
            "ends: Value error, this time does not exist in Europe/Berlin",
        ),
    ],
)
def test_a_reservation_that_makes_no_sense_is_refused(world, change, said):
    answer = world.request("POST", "reservations", ADMIN, {**TUESDAY, **change})
    assert answer.status_code == 422
    assert said in answer.json()["error"]["what"]
    assert world.rows("SELECT * FROM reservations") == []


@pytest.mark.parametrize(
    ("other", "left"),
    [
        ({}, 0),
        ({"starts": "2026-11-24T10:59", "ends": "2026-11-24T12:00"}, 0),
        ({"starts": "2026-11-01T00:00", "ends": "2026-12-31T00:00", "devices": 2}, 0),
        ({"starts": "2026-11-24T11:00", "ends": "2026-11-24T12:00"}, None),
        ({"starts": "2026-12-01T09:30", "ends": "2026-12-01T09:40"}, 0),
        ({"starts": "2026-12-01T09:30", "ends": "2026-12-01T09:40", "timezone": "Europe/Berlin"}, None),
        ({"starts": "2027-06-01T11:30", "ends": "2027-06-01T11:40", "timezone": "Europe/Berlin"}, 0),
        ({"starts": "2030-11-26T09:30", "ends": "2030-11-26T09:40"}, 0),
        ({"starts": "2031-06-03T10:00", "ends": "2031-06-03T11:00", "weekly": True}, 0),
        ({"starts": "2031-06-03T11:00", "ends": "2031-06-03T12:00", "weekly": True}, None),
        # After the clocks have changed in Berlin it is an hour earlier.
        ({"starts": "2031-01-07T12:00", "ends": "2031-01-07T13:00", "weekly": True, "timezone": "Europe/Berlin"}, 0),
        ({"starts": "2031-01-07T13:00", "ends": "2031-01-07T14:00", "weekly": True, "timezone": "Europe/Berlin"}, None),
        ({"devices": 1, "weekly": True}, None),
    ],
)
def test_no_more_gpus_are_reserved_at_a_time_than_there_are(world, other, left):
    first = {**TUESDAY, "weekly": True, "devices": 1 if other.get("devices") == 1 else 2}
    second = {**TUESDAY, "devices": 1, "name": "others", **other}
    for pair in ((first, second), (second, first)):
        statuses = [world.request("POST", "reservations", ADMIN, one).status_code for one in pair]
        assert statuses == [201, 201 if left is None else 422]
        for one in world.rows("SELECT id FROM reservations"):
            world.request("DELETE", f"reservations/{one['id']}", ADMIN)


def test_who_reserves_too_much_is_told_what_is_left(world):
    def said(devices):
        return world.request("POST", "reservations", ADMIN, {**TUESDAY, "devices": devices}).json().get("error")

    assert said(1) is None
    what = "GPUs would be reserved at the same time; this machine has 2."
    assert said(2) == {"what": f"3 {what}", "remedy": "Reserve 1 at most, or choose another time."}
    assert said(1) is None
    assert said(1) == {"what": f"3 {what}", "remedy": "Choose another time."}


def test_an_idle_kernel_is_suspended_for_one_that_waits_and_comes_back(world):
    idle, _busy = granted(world, "alice"), granted(world, "bob")
    waiting = world.ask("carol", world.processes.start(), devices=1).json()["id"]
    world.request("PUT", f"leases/{idle}/activity", "alice", {"busy": False})
    world.pass_time(world.rules.idle_after)
    world.request("GET", f"leases/{waiting}", "carol")
    world.pool.watch()
    assert world.request("GET", f"leases/{idle}", "alice").json()["step"] == "suspending"
    world.finish_task()
    assert world.request("GET", f"leases/{idle}", "alice").json()["state"] == "suspended"
    assert world.request("GET", f"leases/{waiting}", "carol").json()["state"] == "granted"
    place = world.request("POST", f"leases/{idle}/resume", "alice")
    assert (place.status_code, place.json()["position"]) == (202, 1)
    world.request("DELETE", f"leases/{waiting}", "carol")
    world.finish_task()
    back = world.request("GET", f"leases/{idle}", "alice").json()
    assert (back["state"], back["step"], back["devices"]) == ("granted", "", [0])
    assert world.checkpoints.suspended == set()


def test_a_process_that_cannot_be_suspended_keeps_its_gpu(world):
    lease = granted(world, "alice")
    holder = world.pool.store.get(lease).holder
    world.checkpoints.unable.add(holder)
    answer = world.suspend("alice", lease)
    assert answer.status_code == 409
    assert answer.json()["error"]["what"] == "The lease cannot be suspended: it uses managed memory."
    world.request("PUT", f"leases/{lease}/activity", "alice", {"busy": False})
    world.pass_time(world.rules.idle_after)
    granted(world, "bob")
    world.ask("carol", world.processes.start(), devices=1)
    assert world.tasks == []


def test_a_busy_process_is_not_suspended_by_anybody(world):
    lease = granted(world, "alice")
    for busy in (None, True):
        if busy is not None:
            world.request("PUT", f"leases/{lease}/activity", "alice", {"busy": busy})
        answer = world.request("POST", f"leases/{lease}/suspend", ADMIN)
        assert (answer.status_code, answer.json()["error"]["remedy"]) == (409, "Nothing has changed.")
    assert world.request("GET", f"leases/{lease}", "alice").json()["step"] == ""
    assert world.suspend("alice", lease).status_code == 200


@pytest.mark.parametrize(("fails", "state"), [("for now", "granted"), ("fatally", "released")])
def test_a_suspension_that_fails(world, fails, state):
    lease = granted(world, "alice")
    world.suspend("alice", lease)
    world.checkpoints.fails = fails
    world.finish_task()
    shown = world.request("GET", f"leases/{lease}", "alice").json()
    assert (shown["state"], shown["step"]) == (state, "")
    assert "There is not enough memory." in shown["reason"]


def test_nothing_is_kept_in_mind_of_leases_that_are_over(world):
    lease = granted(world, "alice")
    world.suspend("alice", lease)
    world.checkpoints.fails = "fatally"
    world.finish_task()
    assert world.request("GET", f"leases/{lease}", "alice").json()["state"] == "released"
    world.pool.watch()
    assert (len(world.pool._heard), world.pool._missing) == (0, {})


@pytest.mark.parametrize("step", ["suspend", "resume"])
def test_a_pool_that_is_killed_in_a_step_takes_it_again(world, step):
    lease = granted(world, "alice")
    world.suspend("alice", lease)
    if step == "resume":
        world.finish_task()
        world.request("POST", f"leases/{lease}/resume", "alice")
    world.kill_pool()
    world.start_pool()
    shown = world.request("GET", f"leases/{lease}", "alice").json()
    assert (shown["state"], shown["step"]) == ("granted", "suspending" if step == "suspend" else "restoring")
    world.finish_task()
    shown = world.request("GET", f"leases/{lease}", "alice").json()
    assert (shown["state"], shown["step"]) == ("suspended" if step == "suspend" else "granted", "")
    assert bool(world.checkpoints.suspended) == (step == "suspend")


def test_a_step_whose_end_could_not_be_written_is_ended_by_the_watcher(world, monkeypatch):
    lease = granted(world, "alice")
    world.suspend("alice", lease)
    world.pool.watch()
    with monkeypatch.context() as patched:
        patched.setattr(world.store, "end_suspension", lambda *_, **__: sqlite3.connect("/nowhere/at/all"))
        world.finish_task()
    assert world.request("GET", f"leases/{lease}", "alice").json()["step"] == "suspending"
    world.pass_time(FIRST_RETRY)
    world.pool.watch()
    world.finish_task()
    assert world.request("GET", f"leases/{lease}", "alice").json()["state"] == "suspended"


def test_a_process_that_dies_in_its_suspension_gives_its_gpu_back(world):
    lease = granted(world, "alice")
    world.suspend("alice", lease)
    world.processes.end(world.pool.store.get(lease).holder)
    world.pool.watch()
    world.pool.watch()
    world.finish_task()
    shown = world.request("GET", f"leases/{lease}", "alice").json()
    assert (shown["state"], shown["devices"]) == ("released", [])


def test_a_gpu_that_is_lost_while_its_kernel_is_being_suspended_is_counted_once(world):
    lease = granted(world, "alice")
    world.pass_time(60)
    world.suspend("alice", lease)
    world.gpus.lost = {"GPU-0"}
    world.pool.look_at_devices()
    world.pass_time(100)
    world.finish_task()
    assert world.request("GET", f"leases/{lease}", "alice").json()["state"] == "suspended"
    assert world.store.gpu_seconds() == {"alice": 60}


def test_who_keeps_free_gpus_from_others_comes_behind_them_after_a_while_and_gets_all_in_the_end(tmp_path):
    world = World(tmp_path, gpus=4)
    bobs = granted(world, "bob")
    large = world.ask("mallory", world.processes.start(), devices=4).json()["id"]

    def hours_until(lease, user):
        begun = world.wall
        while world.request("GET", f"leases/{lease}", user).json()["state"] == "queued":
            world.pass_time(300)
            for whose, one in (("mallory", large), (user, lease)):
                world.pool.look(whose, one)
            world.pool.watch()
        return (world.wall - begun) / timedelta(hours=1)

    world.pass_time(600)
    world.pool.look("mallory", large)
    small = world.ask("carol", world.processes.start()).json()
    assert (small["state"], small["waits_for"]) == ("queued", "gathering")
    assert hours_until(small["id"], "carol") == pytest.approx(0.5, abs=0.1)
    assert world.store.situation().recent["mallory"] == pytest.approx(3 * 2000, rel=0.1)
    assert world.store.gpu_seconds().get("mallory", 0.0) == 0.0
    world.bind("carol", small["id"], world.processes.start())
    for lease, user in ((bobs, "bob"), (small["id"], "carol")):
        world.request("DELETE", f"leases/{lease}", user)
    assert world.request("GET", f"leases/{large}", "mallory").json()["devices"] == [0, 1, 2, 3]
    world.pass_time(60)
    assert world.store.gpu_seconds()["mallory"] == 240
    world.close()


@pytest.mark.parametrize("what", [{"devices": 2}, {"memory": 8192, "devices": 1}])
def test_what_was_lost_counts_towards_neither_quota_nor_use(world, what):
    world.request("PUT", "quotas/user/alice", "admin:root", {"gpus": 0.5 if "memory" in what else 2})
    lease = granted(world, "alice", **what)
    world.pass_time(60)
    world.gpus.lost = {"GPU-0"}
    world.pool.look_at_devices()
    world.pass_time(100)
    shown = world.request("GET", f"leases/{lease}", "alice").json()
    assert read_lease(shown).lost == (0,)
    assert shown["since"] == (world.wall - timedelta(seconds=160)).isoformat()
    until, left = (30, 0) if "memory" in what else (120, 100)
    assert world.store.gpu_seconds() == {"alice": until + left}
    assert world.store.situation().recent["alice"] == pytest.approx(until + left, rel=0.01)
    world.gpus.lost = set()
    world.pool.look_at_devices()
    world.pass_time(60)
    assert world.store.gpu_seconds() == {"alice": 2 * until + left}
    world.gpus.lost = {"GPU-0"}
    world.pool.look_at_devices()
    another = world.ask("alice", world.processes.start(), **(what | {"devices": 1})).json()
    assert another.get("waits_for") == (None if "memory" in what else "turn"), "the quota has room"
    world.request("DELETE", f"leases/{lease}", "alice")
    assert world.store.gpu_seconds() == {"alice": pytest.approx(2 * until + left)}


def test_a_kernel_that_restarts_gets_no_gpu_that_was_lost(world):
    lease = granted(world, "alice")
    world.gpus.lost = {"GPU-0"}
    world.pool.look_at_devices()
    answer = world.bind("alice", lease, world.processes.start(), in_use=False)
    assert (answer.status_code, answer.json()["error"]["what"]) == (410, "GPU 0 of this lease was lost.")
    shown = world.request("GET", f"leases/{lease}", "alice").json()
    assert (shown["state"], shown["reason"]) == ("released", "GPU 0 was lost")
    assert world.ask("alice", world.processes.start(), devices=1).json()["devices"] == [1]


@pytest.mark.parametrize(("who", "state"), [("first", "granted"), ("waiting", "released")])
def test_a_lease_is_told_as_it_stands_when_it_changes_while_the_pool_answers(world, monkeypatch, who, state):
    first = granted(world, "alice", devices=2)
    waiting = world.ask("bob", world.processes.start()).json()["id"]
    ended = {"first": first, "waiting": waiting}[who]

    def look(user, lease_id):
        seen = GpuPool.look(world.pool, user, lease_id)
        world.pool.take_back("root", ended)
        return seen

    monkeypatch.setattr(world.pool, "look", look)
    answer = world.request("GET", f"leases/{waiting}", "bob")
    assert (answer.status_code, answer.json()["state"]) == (200, state)


def test_the_history_is_ones_own_and_an_admins_everybodys(world):
    lease = granted(world, "alice")
    granted(world, "bob")
    mine = world.request("GET", "history", "alice").json()["changes"]
    assert [(change["after"], change["devices"], change["actor"]) for change in mine] == [
        ("queued", [], "alice"),
        ("granted", [0], "pool"),
        ("granted", [0], "alice"),
    ]
    holder = world.store.get(lease).holder
    assert mine[-1]["reason"] == f"process {holder.pid} uses it"
    assert {change["lease"] for change in mine} == {lease}
    every = world.request("GET", "history", ADMIN).json()["changes"]
    assert {change["user"] for change in every} == {"alice", "bob"}
    assert world.request("GET", f"history?before={every[1]['number']}", ADMIN).json()["changes"] == every[:1]


def test_who_may_not_is_told_what_may_be_done_and_by_whom(world):
    lease = granted(world, "alice")
    error = world.request("GET", f"leases/{lease}", ADMIN).json()["error"]
    assert error["remedy"] == "Only its holder can do this; admins can suspend and end it."
    world.suspend("alice", lease)
    world.finish_task()
    for user in ("bob", "carol"):
        granted(world, user)
    assert world.request("POST", f"leases/{lease}/resume", "alice").status_code == 202
    left = world.request("POST", f"leases/{lease}/leave", "alice")
    assert (left.status_code, left.json()["error"]["what"]) == (
        409,
        "The lease is suspended: to give it up would lose what is kept in memory.",
    )
    assert world.request("GET", f"leases/{lease}", "alice").json()["state"] == "suspended"


@pytest.mark.parametrize("before", ["", "0", "-1", "abc", "²", "9999999999", "9" * 30, "9" * 5000])
def test_what_is_no_line_of_the_history_is_refused(world, before):
    answer = world.request("GET", f"history?{urlencode({'before': before})}", "alice")
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "what": f"before={before[:40]} is no line of the history.",
        "remedy": "Give the number of a line, from 1 to 2147483647.",
    }


@pytest.mark.parametrize("odd", ["\0", "\n", "\x1b", "\x9b", "\u2028"])
def test_control_characters_are_refused_wherever_a_text_is(world, odd):
    """Else PostgreSQL fails at them, and labels write lines of their own into the log."""

    def refused(field, answer):
        assert (answer.status_code, field in answer.text) == (422, True), answer.text

    process = world.processes.start()
    refused("label: ", world.ask("alice", process, label=f"a{odd}b"))
    holder = {"pid": process.pid, "start_time": process.start_time}
    for field, whom in [("user: ", {"user": f"a{odd}b"}), ("groups: ", {"user": "alice", "groups": ["c", odd]})]:
        refused(field, world.request("POST", "leases", "asking:dask", {"purpose": "worker", "holder": holder, **whom}))
    refused("note: ", world.request("POST", "reservations", ADMIN, {**TUESDAY, "note": odd}))
    for method, path in [
        ("GET", "leases"),
        ("DELETE", "reservations"),
        ("PUT", "quotas/user"),
        ("DELETE", "quotas/user"),
    ]:
        refused("The address holds a control character", world.request(method, f"{path}/a{odd}b", ADMIN, {}))
    for action, field in [("set-quota", "name"), ("suspend", "lease"), ("remove-reservation", "id")]:
        form = {"action": action, "scope": "user", field: f"a{odd}b"}
        assert world.send_form(ADMIN, form).status_code == 422
    refused(
        "No control characters", world.send_form(ADMIN, {"action": "set-quota", "scope": "user", "name": f"a{odd}b"})
    )
    assert world.rows("SELECT * FROM leases") == world.rows("SELECT * FROM quotas") == []


@pytest.mark.parametrize("said", [True, False])
def test_a_request_that_is_too_large_is_not_read(world, said):
    label = b"x" * 2**16
    size = {"content-length": str(len(label) + 50)} if said else {}
    answer = world.request("POST", "leases", "alice", b'{"purpose": "kernel", "label": "%s"}' % label, size)
    assert (answer.status_code, answer.json()["error"]["what"]) == (413, "The request is larger than 64 KiB.")
    form = world.request("POST", "", ADMIN, b"action=" + label, {"content-type": "application/x-www-form-urlencoded"})
    assert form.status_code == 413


def test_names_are_the_same_for_programs_and_on_the_page(world):
    """Groups of some sign-ins are paths."""
    form = {"action": "set-quota", "scope": "group", "name": "/school/class 1", "gpus": "1"}
    assert world.send_form(ADMIN, form).status_code == 303
    assert world.request("PUT", "quotas/group//school/class 1", ADMIN, {"gpus": 2}).status_code == 200
    assert [(row["name"], row["gpus"]) for row in world.rows("SELECT * FROM quotas")] == [("/school/class 1", 2.0)]
    assert world.request("DELETE", "quotas/group//school/class 1", ADMIN).status_code == 204
    for name, said in [
        (" a", "begins or ends with a space"),
        (" ", "The name is empty"),
        ("x" * 256, "longer than 255"),
    ]:
        by_program = world.request("PUT", f"quotas/user/{name}", ADMIN, {})
        reserved = world.request("POST", "reservations", ADMIN, {**TUESDAY, "name": name})
        assert by_program.status_code == reserved.status_code == 422
        assert said in by_program.json()["error"]["what"]
        assert said in reserved.json()["error"]["what"]
    for action in ({"action": "set-quota"}, {"action": "reserve", **TUESDAY, "devices": "1"}):
        on_the_page = world.send_form(ADMIN, {**action, "scope": "user", "name": "x" * 256})
        assert (on_the_page.status_code, "longer than 255" in on_the_page.text) == (422, True)
    assert world.rows("SELECT * FROM quotas") == world.rows("SELECT * FROM reservations") == []


def test_the_page_removes_a_quota_with_a_name_of_old(world):
    world.pool.policy.set_quota(QuotaRule("user", " a", Quota(gpus=1)))
    shown = world.page("", ADMIN).text
    assert 'name="name" value=" a"' in shown
    assert world.send_form(ADMIN, {"action": "remove-quota", "scope": "user", "name": " a"}).status_code == 303
    assert world.rows("SELECT * FROM quotas") == []


@pytest.mark.parametrize(
    ("user", "method", "path", "body", "said"),
    [
        ("service:operator", "DELETE", "leases/x", None, "operator 是一个服务；租约属于用户。 请使用用户的令牌。"),
        ("alice", "PUT", "quotas/default", {}, "alice 不是管理员。 请联系管理员操作。"),
        (ADMIN, "PUT", "quotas/planet/earth", {}, "配额属于某个用户、某个组，或为默认配额。"),
        (ADMIN, "DELETE", "quotas/user/zoe", None, "没有 zoe 的配额。 请刷新页面：它可能已被删除。"),
        (ADMIN, "DELETE", "reservations/x", None, "没有预留 x。 请刷新页面：它可能已被删除。"),
        (
            "alice",
            "GET",
            "nowhere",
            None,
            "/services/gpu-pool/nowhere 处没有任何内容。 请检查地址；原有内容可能已不在。",
        ),
        ("alice", "PATCH", "", None, "此处不支持 PATCH。 请使用："),
        ("alice", "POST", "leases", {}, "无法读懂该请求："),
    ],
)
def test_what_cannot_be_done_is_said_in_their_language_with_what_to_do(world, user, method, path, body, said):
    error = world.request(method, path, user, body, {"accept-language": "zh-CN"}).json()["error"]
    assert f"{error['what']} {error['remedy']}".startswith(said)
    assert error["remedy"]


def test_why_a_lease_ended_or_stays_is_said_in_their_language(world):
    chinese = {"accept-language": "zh-CN"}
    lease = granted(world, "alice")
    world.checkpoints.refusal = lambda process: "it was stopped by a signal"
    refused = world.request("POST", f"leases/{lease}/suspend", "alice", headers=chinese).json()["error"]
    assert refused["what"] == "无法挂起该租约：它已被信号暂停。"
    world.request("DELETE", f"leases/{lease}", ADMIN)
    ended = world.request("POST", f"leases/{lease}/resume", "alice", headers=chinese).json()["error"]
    assert ended == {"what": "该租约已结束：被 root 收回。", "remedy": "请重启内核。"}
    shown = world.request("GET", f"leases/{lease}", "alice", headers=chinese).json()
    assert (shown["reason"], shown["why"]) == ("released by root", "被 root 收回")
    with pytest.raises(LeaseLostError) as lost:
        read_lease(shown)
    assert (lost.value.reason, lost.value.why) == ("released by root", "被 root 收回")


def test_the_description_is_of_every_route_and_nothing_else(world):
    described = {(operation.method, f"{PREFIX}{operation.path}") for operation in OPERATIONS}
    served = {
        (m, route.path.replace(":path}", "}"))
        for route in PoolApi(world.pool).routes()
        for m in route.methods - {"HEAD"}
    }
    assert described == served
    document = world.request("GET", "openapi.json", "alice").json()
    ask = document["paths"]["/leases"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert ask == "#/components/schemas/AskBody"
    assert document["components"]["schemas"]["AskBody"]["properties"]["holder"] == {
        "$ref": "#/components/schemas/HolderBody"
    }


@pytest.mark.parametrize(
    ("language", "heading"), [("en", "The GPU pool&#39;s REST API"), ("zh-CN", "GPU 池的 REST API")]
)
def test_the_description_is_a_page_too(world, language, heading):
    page = world.request("GET", "api", "alice", headers={"Accept": "text/html", "Accept-Language": language})
    assert heading in page.text
    assert page.text.count("<code>") > len(OPERATIONS)
    catalogue = json.loads((Path(openapi.__file__).parent / "texts_zh.json").read_text(encoding="utf-8"))
    assert {operation.summary for operation in OPERATIONS} <= catalogue.keys()


def test_asks_that_belong_together_are_never_more_than_there_is(world):
    """Or they would wait for ever: what would make them so is refused."""
    granted(world, "alice", devices=2)
    together = {"id": "f0", "size": 1}
    for _ in range(2):
        assert world.ask("bob", world.processes.start(), devices=1, together=together).status_code == 202
    third = world.ask("bob", world.processes.start(), devices=1, together=together)
    assert third.status_code == 422
    assert third.json()["error"]["what"] == "3 GPUs were asked for; this machine has 2."
