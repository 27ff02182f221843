"""Asks that come twice, with the id that the asker chose, and those that come after they were given up."""

import uuid

import pytest
from support.pool_world import World

GATEWAY = "asking:dask-gateway"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, gpus=1)
    yield world
    world.close()


@pytest.fixture
def id_():
    return uuid.uuid4().hex


def ask_for(world, asker, user, **what):
    process = world.processes.start()
    holder = {"pid": process.pid, "start_time": process.start_time}
    return world.request("POST", "leases", asker, {"purpose": "worker", "holder": holder, "user": user, **what})


def test_an_ask_that_comes_again_gets_the_lease_as_it_stands(world, id_):
    process = world.processes.start()
    first, again = (world.ask("alice", process, id=id_) for _ in range(2))
    assert (first.status_code, first.json()["id"], again.json()) == (201, id_, first.json())
    other = uuid.uuid4().hex
    waiting = [world.ask("bob", world.processes.start(), id=other) for _ in range(2)]
    assert [(answer.status_code, answer.json()["position"]) for answer in waiting] == [(202, 1), (202, 1)]
    assert len(world.rows("SELECT * FROM leases")) == 2
    world.request("DELETE", f"leases/{id_}", "alice")
    ended = world.ask("alice", process, id=id_)
    assert (ended.status_code, ended.json()["state"], ended.json()["reason"]) == (200, "released", "given back")
    assert world.ask("bob", world.processes.start(), id=other).status_code == 201, "its turn has come"


@pytest.mark.parametrize(
    ("first", "second"),
    [(("alice", None), ("bob", None)), (("alice", None), (GATEWAY, "alice")), ((GATEWAY, "alice"), (GATEWAY, "bob"))],
)
def test_an_id_of_somebody_else_is_refused_and_nothing_of_the_lease_is_said(world, id_, first, second):
    assert ask_for(world, *first, id=id_, label="secret.ipynb").status_code == 201
    before = world.audit()
    answer = ask_for(world, *second, id=id_)
    assert answer.status_code == 409
    assert answer.json() == {
        "error": {
            "what": "This id cannot be used: it is another lease's.",
            "remedy": "Choose another id, at random, or leave it out.",
        }
    }
    assert world.audit() == before


@pytest.mark.parametrize("wrong", ["", "1", "x" * 32, "A" * 32, "0" * 33])
def test_what_is_no_id_is_refused(world, wrong):
    answer = world.ask("alice", world.processes.start(), id=wrong)
    assert (answer.status_code, "id: " in answer.json()["error"]["what"]) == (422, True)


def test_an_ask_that_comes_after_it_was_given_up_gets_nothing(world, id_):
    assert world.request("DELETE", f"leases/{id_}", "alice").status_code == 404
    assert world.request("DELETE", f"leases/{id_}", "mallory").status_code == 404
    late = world.ask("alice", world.processes.start(), id=id_)
    assert (late.status_code, late.json()["state"]) == (200, "released")
    other = uuid.uuid4().hex
    world.request("DELETE", f"leases/{other}", "mallory")
    assert world.ask("alice", world.processes.start(), id=other).status_code == 201, "nobody gives up another one's"
