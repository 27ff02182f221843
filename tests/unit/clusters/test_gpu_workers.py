"""GPUs of Dask workers: what a person may ask for, what is said in the queue, the gate, and when a cluster is idle."""

import asyncio
import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from armillary.clusters.base import Cluster
from armillary.clusters.gpu_queue import gpu_queue, pool_size, read_queue
from armillary.clusters.progress import Arrival
from armillary_hub.clusters.gpu_leases import WorkerLeases, start_gate
from armillary_hub.clusters.gpu_pool import Allowance
from armillary_hub.clusters.limits import LimitReached, check_gpus
from armillary_hub.clusters.scheduler_idle import is_busy
from armillary_kernels.leases import Lease, LeaseLostError, LeaseRefusedError, PoolUnreachableError, QueuePlace
from armillary_kernels.processes import Process
from support.strange_pool import StrangePool


@pytest.mark.parametrize(
    ("allowance", "gpus", "workers", "sentence"),
    [
        (Allowance(0), 1, 1, "This machine has no GPUs. Leave out gpus: workers then use the CPU."),
        (Allowance(2), 3, 1, "1 workers need 3 GPUs (3 each): this machine has 2. Ask for at most 2 GPUs."),
        (Allowance(2), 1, 3, "3 workers need 3 GPUs (1 each): this machine has 2. Ask for at most 2."),
        (
            Allowance(8, 2.0),
            1,
            3,
            "3 workers need 3 GPUs (1 each): your quota is 2 at once. Ask for at most 2. An admin can give you a "
            "larger one.",
        ),
        (
            Allowance(8, 0),
            1,
            1,
            "1 workers need 1 GPUs (1 each): your quota is 0 at once. An admin can give you a larger one.",
        ),
    ],
)
def test_gpus_that_can_never_be_are_refused(allowance, gpus, workers, sentence):
    with pytest.raises(LimitReached) as refusal:
        check_gpus(allowance, gpus, workers)
    assert str(refusal.value) == sentence


def test_gpus_that_can_be_are_not():
    check_gpus(Allowance(2), 1, 2)
    check_gpus(Allowance(8, 4.0), 4)
    check_gpus(Allowance(2, 0), 1, 0)


def waiting(user="alice", label="Dask abcdef01", position=2, **what):
    holders = [{"user": "bob", "label": ""}, {"user": "alice", "label": "x"}, {"user": "bob", "label": ""}]
    lease = {"user": user, "label": label, "position": position, "waits_for": "turn", "estimate": 150.0}
    return {**lease, "holders": holders, **what}


def test_the_queue_in_a_persons_words():
    books = {"queue": [waiting("bob"), waiting(), waiting(position=4), waiting(label="Dask 99999999")]}
    queue = read_queue(books, "alice", "abcdef0123456789")
    assert str(Arrival(1, 3, queue)) == (
        "Dask cluster: 1 of 3 workers ready … Workers that wait for a GPU: 2 (place 2 in the queue). "
        "GPUs are held by bob, you. Its turn comes in about 2 min."
    )
    assert read_queue(books, "alice", "ffffffff") is None
    at_quota = read_queue({"queue": [waiting(waits_for="quota", estimate=None)]}, "alice", "abcdef01")
    assert "Your GPU quota is used up" in str(at_quota)


@pytest.mark.parametrize("body", ["<html>", "{}", "[]"])
def test_an_answer_that_is_no_pools_is_as_good_as_none(body):
    with StrangePool(200, body) as pool:
        connection = pool.connection("alice")
        for nowhere in (connection, replace(connection, pool_url="http://[::1")):
            assert pool_size(nowhere) is gpu_queue(nowhere, "abcdef01") is None


def test_nothing_runs_before_the_gate_opens(tmp_path):
    made = tmp_path / "made"
    with start_gate(["/bin/touch", str(made)]) as (command, descriptor, open_gate):
        gated = subprocess.Popen(command, stdin=descriptor)
        identity = Process.of(gated.pid)
        assert not made.exists()
        assert identity.is_alive()
        open_gate()
        assert gated.wait(10) == 0
    assert made.exists()
    with start_gate(["/bin/touch", str(tmp_path / "never")]) as (command, descriptor, _open_gate):
        gated = subprocess.Popen(command, stdin=descriptor)
    assert gated.wait(10) != 0
    assert not (tmp_path / "never").exists()


class Pool:
    """A pool whose answers are given one after the other."""

    def __init__(self, *answers):
        self.answers, self.in_line = list(answers), asyncio.Event()
        self.asked, self.given_back = [], []

    async def ask(self, lease_id, user, gpus, label, together):
        assert together.size == 1
        self.asked.append(lease_id)
        self.wanted = (user, gpus, label)
        return await self.look(lease_id)

    async def look(self, lease_id):
        if not self.answers:
            self.in_line.set()
        answer = self.answers.pop(0) if self.answers else QueuePlace("a", 1, ())
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def give_back(self, lease_id):
        self.given_back.append(lease_id)


def worker(**state):
    cluster = SimpleNamespace(name="abcdef0123", username="alice", config={"worker_gpus": 1}, workers={})
    return SimpleNamespace(name="w", cluster=cluster, state=state)


def stand_in_line(pool, monkeypatch, then, ask_again=0, refused=lambda worker, reason: None):
    monkeypatch.setattr("armillary_hub.clusters.gpu_leases.LOOK_PERIOD", 0)
    monkeypatch.setattr("armillary_hub.clusters.gpu_leases.ASK_AGAIN", ask_again)

    async def main():
        ready = asyncio.Event()
        leases = WorkerLeases(pool, lambda _worker: ready.set(), refused)
        leases.ask_for(worker())
        leases.ask_for(worker())
        await then(leases, ready)
        await leases.end(worker())
        assert leases.granted(worker()) is None

    asyncio.run(main())


def test_a_worker_waits_and_gets_its_lease(monkeypatch):
    pool = Pool(
        QueuePlace("a", 2, ()), LeaseLostError("It was taken.", ""), QueuePlace("b", 1, ()), Lease("b", (1,), {})
    )

    async def then(leases, ready):
        await asyncio.wait_for(ready.wait(), 5)
        assert leases.granted(worker()).devices == (1,)

    stand_in_line(pool, monkeypatch, then)
    assert pool.wanted == ("alice", 1, "Dask abcdef01")
    first, second = pool.asked
    assert first != second
    assert pool.given_back == ["b"], "the lease that was granted"


def test_an_ask_whose_answer_is_lost_is_made_again_with_the_same_id(monkeypatch):
    pool = Pool(
        PoolUnreachableError("", ""), QueuePlace("a", 1, ()), PoolUnreachableError("", ""), Lease("a", (1,), {})
    )

    async def then(leases, ready):
        await asyncio.wait_for(ready.wait(), 5)

    stand_in_line(pool, monkeypatch, then)
    assert (len(pool.asked), len(set(pool.asked)), pool.given_back) == (3, 1, ["a"])


def test_a_worker_that_is_stopped_while_it_waits_leaves_the_queue(monkeypatch):
    pool = Pool(QueuePlace("a", 1, ()))

    async def then(leases, ready):
        await asyncio.wait_for(pool.in_line.wait(), 5)
        assert not ready.is_set()

    stand_in_line(pool, monkeypatch, then)
    assert pool.given_back == pool.asked


def test_whatever_goes_wrong_the_worker_goes_on_asking_and_its_owner_is_told_once(monkeypatch):
    told = []
    pool = Pool(
        KeyError("groups"),
        LeaseRefusedError("It is too many.", ""),
        LeaseRefusedError("It is too many.", ""),
        Lease("a", (1,), {}),
    )

    async def then(leases, ready):
        await asyncio.wait_for(ready.wait(), 5)

    stand_in_line(pool, monkeypatch, then, refused=lambda worker, reason: told.append((worker.name, reason)))
    assert told == [("w", "'groups'"), ("w", "It is too many.")]
    assert len(set(pool.asked)) == 3, "the first ask may have been booked, a refused one is over"


def test_a_worker_that_is_stopped_before_it_asks_again_leaves_no_place_either(monkeypatch):
    pool, is_told = Pool(PoolUnreachableError("It does not answer.", "")), asyncio.Event()

    async def then(leases, ready):
        await asyncio.wait_for(is_told.wait(), 5)

    stand_in_line(pool, monkeypatch, then, ask_again=60, refused=lambda worker, reason: is_told.set())
    assert pool.given_back == pool.asked


class Waiting(Cluster):
    """A cluster whose workers never come, of a pool that does not answer."""

    name, dashboard_link, workers = "abcdef0123", None, 0

    def __init__(self, gpus):
        super().__init__(started_here=True)
        self.gpus, self.asked = gpus, []

    def _connect(self):
        raise NotImplementedError

    def _request_workers(self, count):
        self.asked.append(count)

    def _stop(self):
        pass

    def _require_running(self):
        pass


@pytest.mark.parametrize(("gpus", "asked"), [(1, [2, 0]), (0, [2])])
def test_who_stops_waiting_for_gpus_gives_up_the_places_though_the_pool_is_silent(gpus, asked):
    def interrupt(arrival):
        raise KeyboardInterrupt

    cluster = Waiting(gpus)
    with pytest.raises(KeyboardInterrupt):
        cluster.scale(2, interrupt)
    assert cluster.asked == asked


@pytest.mark.parametrize("lives", [True, False])
def test_a_process_that_lives_on_keeps_its_gpus(lives):
    pool, process = Pool(), Process.own()
    start_time = process.start_time if lives else process.start_time + 1
    ended = worker(lease="a", pid=os.getpid(), start_time=start_time)
    asyncio.run(WorkerLeases(pool, print).end(ended))
    assert pool.given_back == ([] if lives else ["a"])


@pytest.mark.parametrize(
    ("count", "active", "unrunnable", "processing", "busy"),
    [
        (2, 0, [], [], True),  # it waits for its first worker
        (2, 1, [], [], False),  # the one that is there holds a GPU
        (0, 0, [], [], False),
        (1, 1, ["task"], [], True),
        (1, 1, [], ["task"], True),
    ],
)
def test_a_cluster_is_idle(count, active, unrunnable, processing, busy):
    workers = {n: SimpleNamespace(processing=processing) for n in range(active)}
    scheduler = SimpleNamespace(workers=workers, unrunnable=unrunnable)
    assert is_busy(SimpleNamespace(scheduler=scheduler, count=count, active_workers=set(workers))) == busy
