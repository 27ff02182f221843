"""Real kernels on a real pool over a fake of the CUDA driver: what befalls them while suspended and restored."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from support.fake_gpus import FakeGpus
from support.gpu_pool import PoolProcess, eventually
from support.notebook import Notebook

TESTS = str(Path(__file__).parents[1])

#: MiB of the one GPU; a kernel's tensor takes most of it, so that no two fit.
GPU, TENSOR = 8192, 6000


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    gpus = FakeGpus.make(folder / "gpus", mebibytes=GPU)
    pool = PoolProcess(folder, 0, 0.0, str(gpus.folder))
    pool.start()
    yield pool, gpus
    pool.kill()


@pytest.fixture
def pool(running):
    yield running[0]
    running[0].clear()


@pytest.fixture
def gpus(running):
    yield running[1]
    running[1].set(hang={}, lingers={}, host=10**6)
    running[1].set_host_memory(10**6)


def tensor(gpus, number, mebibytes=TENSOR, managed=False):
    """A cell that fills the GPU's memory."""
    return (
        f"import sys; sys.path.insert(0, {TESTS!r})\n"
        "from support.fake_gpus import FakeCuda\n"
        f"cuda = FakeCuda({str(gpus.folder)!r})\n"
        f"cuda.put('tensor', {mebibytes}, [{number}] * 100, managed={managed})"
    )


def wait_for(notebook, state, step=""):
    def it_is():
        lease = notebook.lease
        return lease is not None and (lease["state"], lease["step"]) == (state, step)

    eventually(it_is, what=f"{notebook.user}'s lease {state} {step}")


def last_word(pool, user):
    return [change for change in pool.history() if change["user"] == user][-1]


def books_balance(pool):
    """The device is held by exactly those who hold it, and nothing is under way."""
    with sqlite3.connect(f"file:{pool.database}?mode=ro", uri=True) as books:
        books.row_factory = sqlite3.Row
        holdings = books.execute("SELECT COUNT(*) AS n FROM holdings").fetchone()["n"]
        (device,) = books.execute("SELECT * FROM devices").fetchall()
        leases = books.execute("SELECT * FROM leases WHERE state <> 'released'").fetchall()
        audit = books.execute("SELECT lease_id, after FROM audit ORDER BY number").fetchall()
    assert device["exclusives"] == holdings == sum(lease["state"] == "granted" for lease in leases)
    assert not [lease["step"] for lease in leases if lease["step"]]
    told = {line["lease_id"]: line["after"] for line in audit}
    assert {lease["id"]: lease["state"] for lease in leases} == {
        lease: state for lease, state in told.items() if state != "released"
    }
    return True


def balanced(pool):
    def they_do():
        try:
            return books_balance(pool)
        except AssertionError:
            return False

    eventually(they_do, what="books that balance")


@pytest.fixture
def alice(pool):
    with Notebook(pool, "alice") as notebook:
        yield notebook


@pytest.fixture
def bob(pool):
    with Notebook(pool, "bob") as notebook:
        yield notebook


def test_each_uses_the_whole_gpu_in_turn_and_finds_its_own_again(pool, gpus, alice, bob):
    alice.run(tensor(gpus, 1))
    cell = bob.begin(tensor(gpus, 2))
    cell.result()
    assert alice.lease["state"] == "suspended"
    assert alice.run("print(set(cuda.get('tensor')))") == "{1}"
    assert bob.run("print(set(cuda.get('tensor')))") == "{2}"
    assert alice.is_alive
    balanced(pool)


def test_managed_memory_keeps_its_gpu_and_says_why(pool, gpus, alice, bob):
    alice.run(tensor(gpus, 1, managed=True))
    waiting = bob.begin("print('mine')")
    eventually(lambda: "managed memory" in last_word(pool, "alice")["reason"], what="the refusal")
    waiting.shows("alice")
    assert alice.run("print(set(cuda.get('tensor')))") == "{1}"
    balanced(pool)


def test_host_memory_too_small_for_the_state_keeps_its_gpu_and_says_why(pool, gpus, alice, bob):
    gpus.set_host_memory(2000)
    alice.run(tensor(gpus, 1))
    bob.begin("print('mine')")
    eventually(lambda: last_word(pool, "alice")["reason"].startswith("not suspended"), what="the refusal")
    assert "976 MiB of host memory are left, and 6000 MiB are needed." in last_word(pool, "alice")["reason"]
    assert alice.run("print(set(cuda.get('tensor')))") == "{1}"
    balanced(pool)


def test_host_memory_that_runs_out_all_the_same_costs_one_kernel_and_nothing_else(pool, gpus, alice, bob):
    gpus.set(host=100)
    alice.run(tensor(gpus, 1))
    assert bob.run("print('mine')") == "mine"
    # A process that is killed may look alive for a moment: then the pool finds its end at a later look.
    ends = ("The process has ended.", "its process ended")
    eventually(lambda: last_word(pool, "alice")["reason"] in ends, what="the end of the process in the books")
    balanced(pool)


def test_a_state_that_is_lost_ends_its_kernel_with_a_clear_message(pool, gpus, alice, bob):
    alice.run(tensor(gpus, 1))
    bob.run("print('mine')")
    with gpus.changing():
        state = gpus.process(alice.pid)
        gpus.keep({**state, "state": "FAILED"})
    alice.begin("print(set(cuda.get('tensor')))")
    eventually(lambda: "was lost" in last_word(pool, "alice")["reason"], what="the message")
    assert bob.run("print('still here')") == "still here"
    balanced(pool)


def test_a_restore_without_room_is_not_tried_and_the_cell_goes_on_waiting(pool, gpus, alice, bob):
    (uuid,) = [gpu["uuid"] for gpu in gpus.machine["gpus"]]
    alice.run(tensor(gpus, 1))
    bob.run("print('mine')")
    gpus.set(lingers={uuid: 4000})
    cell = alice.begin("print(set(cuda.get('tensor')))")
    eventually(lambda: last_word(pool, "alice")["reason"].startswith("not restored"), what="the refusal")
    gpus.set(lingers={})
    assert cell.result() == "{1}"
    balanced(pool)


def reach(state, gpus, alice, bob):
    """Bring alice's kernel into a state."""
    if state == "queued":
        bob.begin("print('mine'); import time; time.sleep(600)").shows("mine")
        alice.begin(tensor(gpus, 1)).shows("place 1")
        return
    alice.run(tensor(gpus, 1))
    if state == "granted":
        return
    if state == "suspending":
        gpus.set(hang={"checkpoint": "before"})
    bob.begin("print('mine')")
    if state == "suspending":
        wait_for(alice, "granted", "suspending")
        return
    wait_for(alice, "suspended")
    if state == "restoring":
        gpus.set(hang={"restore": "before"})
        alice.begin("print(set(cuda.get('tensor')))")
        wait_for(alice, "granted", "restoring")


STATES = ["queued", "granted", "suspending", "suspended", "restoring"]


@pytest.mark.parametrize("state", STATES)
def test_a_kernel_that_is_killed_leaves_books_that_balance(pool, gpus, alice, bob, state):
    reach(state, gpus, alice, bob)
    alice.die()
    eventually(lambda: last_word(pool, "alice")["after"] == "released", what="the end of the lease")
    assert last_word(pool, "alice")["reason"] in ("its process ended", "The process has ended.")
    gpus.set(hang={})
    if state != "queued":
        assert bob.run("print('still here')") == "still here"
    balanced(pool)
    assert gpus.used(gpus.machine["gpus"][0]["uuid"]) == 0


@pytest.mark.parametrize("state", STATES)
def test_a_pool_that_is_killed_goes_on_where_it_was(pool, gpus, alice, bob, state):
    reach(state, gpus, alice, bob)
    pool.kill()
    gpus.set(hang={})
    pool.start()
    if state == "queued":
        os.kill(bob.pid, signal.SIGKILL)
        eventually(lambda: alice.lease["state"] == "granted", what="alice's turn")
        eventually(lambda: gpus.process(alice.pid), what="alice's tensor")
    assert alice.run("print(set(cuda.get('tensor')))") == "{1}"
    balanced(pool)
