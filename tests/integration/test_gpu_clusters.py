"""Dask workers with GPUs in a real deployment: leased for their owner, waited for, and given back at every end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
import pytest
from armillary import cluster
from armillary.clusters.progress import Arrival
from armillary.clusters.remote import RemoteCluster, WorkerSize, remote_cluster
from armillary.errors import ClusterError
from armillary_kernels.connection import Connection
from armillary_kernels.processes import Process
from support import patiently
from support.deployment import Deployment, wait_for
from support.hub_client import become
from support.person import sign_in


class Pool:
    """The pool as ``gina`` sees it, and ``hugo``, who holds GPUs."""

    def __init__(self, deployment: Deployment, headers: dict[str, str]) -> None:
        self.deployment = deployment
        self.url = f"{deployment.url}/services/gpu-pool"
        self.headers = headers

    def of(self, user: str, kind: str) -> list[dict[str, Any]]:
        books = patiently.get(f"{self.url}/", headers=self.headers).raise_for_status().json()
        return [lease for lease in books[kind] if lease["user"] == user]

    def leases(self) -> list[dict[str, Any]]:
        return self.of("gina", "leases")

    def queue(self) -> list[dict[str, Any]]:
        return self.of("gina", "queue")

    @contextlib.contextmanager
    def held_by_hugo(self, gpus: int) -> Iterator[None]:
        headers = {"Authorization": f"Bearer {self.deployment.token('hugo')}"}
        account = pwd.getpwnam("hugo") if self.deployment.settings.mode == "team" else self.deployment.account
        holder = subprocess.Popen(["sleep", "600"], user=account.pw_uid, cwd="/")
        try:
            process = Process.of(holder.pid)
            named = {"holder": {"pid": process.pid, "start_time": process.start_time}}
            ask = {"purpose": "kernel", "devices": gpus, "label": "x", **named}
            lease = patiently.post(f"{self.url}/leases", json=ask, headers=headers).raise_for_status().json()
            wait_for(lambda: self._is_granted(lease["id"], headers), 60, "hugo has GPUs")
            patiently.patch(f"{self.url}/leases/{lease['id']}", json=named, headers=headers).raise_for_status()
            yield
        finally:
            holder.kill()
            holder.wait()

    def _is_granted(self, lease: str, headers: dict[str, str]) -> bool:
        return httpx.get(f"{self.url}/leases/{lease}", headers=headers).json()["state"] == "granted"


@pytest.fixture(scope="module")
def pool(usual_deployment: Deployment) -> Iterator[Pool]:
    """The pool of a deployment with two pretend GPUs; this process is gina's notebook."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        pool = Pool(usual_deployment, become(monkeypatch, usual_deployment, "gina"))
        wait_for(lambda: not httpx.get(f"{pool.url}/", headers=pool.headers).json()["leases"], 30, "no GPU is held")
        yield pool


def who_am_i() -> Callable[[], tuple[str, int, int]]:
    # Workers cannot import this file: a lambda is sent as it is.
    return lambda: (os.environ["CUDA_VISIBLE_DEVICES"], os.getpid(), os.getuid())


def test_workers_wait_for_their_gpus_and_give_them_back(pool: Pool) -> None:
    with contextlib.ExitStack() as stack:
        with pool.held_by_hugo(1):
            mine = stack.enter_context(cluster(workers=1, gpus=1))
            visible, pid, uid = mine.client().submit(who_am_i()).result()
            [lease] = pool.leases()
            assert (lease["purpose"], lease["label"], lease["state"]) == ("worker", f"Dask {mine.name[:8]}", "granted")
            assert (lease["holder"]["pid"], lease["holder"]["in_use"]) == (pid, True)
            assert visible == str(lease["devices"][0])
            assert uid == Path(f"/proc/{pid}").stat().st_uid

            scaling = threading.Thread(target=mine.scale, args=(2,))
            scaling.start()
            [place] = wait_for(pool.queue, 30, "a worker waits")
            assert mine.gpu_queue().position == 1
            assert "GPUs are held by" in str(mine.gpu_queue())
            pool.deployment.wait_back("gateway", pool.deployment.kill("gateway"))
            wait_for(lambda: [it for it in pool.queue() if it["id"] != place["id"]], 60, "the worker asks anew")
            assert [it["id"] for it in pool.leases()] == [lease["id"]], "a living worker's lease stands"
        scaling.join(180)
        assert not scaling.is_alive()
        assert sorted(it["devices"] for it in pool.leases()) == [[0], [1]]

        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(holders(pool) - {pid}) == 2, 60, "another worker has a lease in place of the dead one's")
        mine.scale(1)
        wait_for(lambda: len(pool.leases()) == 1, 30, "the lease of a worker that is no longer wanted is back")
        mine._door.ask(lambda: mine._door.gateway.adapt_cluster(mine.name))  # to as many as there are GPUs
    wait_for(lambda: not pool.leases(), 30, "a closed cluster holds no GPU")


def holders(pool: Pool) -> set[int]:
    return {lease["holder"]["pid"] for lease in pool.leases() if lease["holder"]["in_use"]}


def test_who_stops_waiting_leaves_the_queue(pool: Pool) -> None:
    class Interrupt(BaseException):
        pass

    def interrupt(arrival: Arrival) -> None:
        if arrival.refusal:
            raise Interrupt(str(arrival))
        if arrival.queue:
            said.append(str(arrival))
            for place in pool.queue():
                patiently.delete(f"{pool.url}/leases/{place['id']}", headers=pool.headers).raise_for_status()

    said: list[str] = []
    why = "The GPU pool gave a worker no GPU: The lease has ended: given back"
    with pool.held_by_hugo(2), pytest.raises(Interrupt, match=f"0 of 1 .* {why}"):
        remote_cluster(Connection.from_environment(), 1, WorkerSize(None, gpus=1), interrupt)
    assert "GPUs are held by hugo" in said[0]
    wait_for(lambda: not pool.queue(), 30, "nobody waits")


def test_two_people_who_each_need_both_gpus_have_them_in_turn(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = {"gina": Connection.from_environment()}
    become(monkeypatch, pool.deployment, "hugo")
    connections["hugo"] = Connection.from_environment()
    is_over = threading.Event()

    def report(arrival: Arrival) -> None:
        if is_over.is_set():
            raise RuntimeError(str(arrival))

    def grow(name: str) -> tuple[str, RemoteCluster]:
        return name, remote_cluster(connections[name], 2, WorkerSize(None, gpus=1), report)

    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(2))
        stack.callback(is_over.set)
        with pool.held_by_hugo(2):
            growing = {executor.submit(grow, name) for name in connections}
            wait_for(lambda: len(pool.of("gina", "queue") + pool.of("hugo", "queue")) == 4, 60, "four workers wait")
        for name, mine in map(Future.result, as_completed(growing, 240)):
            with mine:
                assert sorted(lease["devices"] for lease in pool.of(name, "leases")) == [[0], [1]]
    wait_for(lambda: not pool.of("gina", "leases") + pool.of("hugo", "leases"), 30, "no GPU is held")


def test_gpus_that_can_never_be_are_refused_at_once(pool: Pool) -> None:
    with pytest.raises(ClusterError, match=r"need 3 GPUs \(3 each\): this machine has 2"):
        cluster(workers=1, gpus=3)
    with pytest.raises(ClusterError, match=r"3 workers need 3 GPUs \(1 each\): this machine has 2. Ask for at most 2."):
        cluster(workers=3, gpus=1)
    with cluster(workers=1) as without:
        assert without.client().submit(who_am_i()).result()[0] == ""
    assert not pool.leases()


def test_the_widget_starts_the_cluster_anew_with_gpus(pool: Pool) -> None:
    with cluster(workers=1, memory="512 MiB") as mine:
        assert mine._repr_mimebundle_()
        before, panel = mine.name, mine._widget
        panel._gpus.value = 1
        panel._scale.click()
        assert mine.name != before
        assert mine.client().submit(who_am_i()).result(timeout=60)[0] == str(pool.leases()[0]["devices"][0])
        assert {worker["memory_limit"] for worker in mine.worker_infos()} == {512 * 2**20}
        wait_for(lambda: ">GPUs<" in panel._figures.value, 20, "its figures show the GPU")
        panel._gpus.value = panel._count.value = 2
        panel._scale.click()
        assert "2 workers need 4 GPUs (2 each): this machine has 2." in panel._message.value
        assert len(pool.leases()) == 1, "a refusal leaves the cluster as it is"


TRAINING = """
import numpy as np
import torch
from armillary import datasets, training

images = np.random.default_rng(0).integers(0, 255, (200, 8, 8), dtype=np.uint8)
data = datasets.import_arrays(images, np.arange(200) % 10, name="noise")
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
run = training.fit(network, data, gpus=2, epochs=1, batch_size=20)
run.wait(200)
print(run.status, len(run.epochs))
"""


def test_training_on_gpus_leases_one_for_each_rank(pool: Pool) -> None:
    gina = sign_in(pool.deployment, "gina")
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(gina.shell, f"ARMILLARY_TRACKING=off python -c {shlex.quote(TRAINING)}")
        wait_for(lambda: sorted(it["devices"] for it in pool.leases()) == [[0], [1]], 100, "both GPUs are leased")
        answer = running.result()
    assert answer.stdout.split()[-2:] == ["finished", "1"], answer.stderr
    wait_for(lambda: not pool.leases(), 30, "a cluster that was started for the run ends with it")
