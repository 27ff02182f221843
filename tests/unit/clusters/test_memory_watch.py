"""The watch over the workers' memory: whoever has too much is ended, and no scheduler can keep the others unwatched."""

import asyncio
import subprocess
from types import SimpleNamespace

import pytest
from armillary_hub.clusters.memory_watch import MemoryWatch
from armillary_kernels.processes import Process


class Schedulers:
    """What the gateway tells them; they take it in once they answer."""

    def __init__(self):
        self.told, self.answer = [], asyncio.Event()

    async def post(self, url, json, **_):
        self.told.append((url.partition("/")[0], json["name"]))
        await self.answer.wait()


def cluster(name, limit, sleeper):
    process = Process.of(sleeper.pid)
    worker = SimpleNamespace(name=f"{name}-1", state={"pid": process.pid, "start_time": process.start_time})
    worker.cluster = SimpleNamespace(
        name=name, username="ann", token="", api_address=name, config=SimpleNamespace(worker_memory=limit)
    )
    worker.cluster.active_workers = lambda: [worker]
    return worker.cluster


@pytest.fixture
def sleepers():
    started = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    yield started
    for sleeper in started:
        sleeper.kill()
        sleeper.wait()


async def test_a_scheduler_that_does_not_answer_keeps_no_worker_unwatched(sleepers, monkeypatch):
    monkeypatch.setattr("armillary_hub.clusters.scheduler_events.PATIENCE", 600)
    silent, other = cluster("silent", 1, sleepers[0]), cluster("other", 2**40, sleepers[1])
    schedulers = Schedulers()
    backend = SimpleNamespace(
        db=SimpleNamespace(active_clusters=lambda: [silent, other]),
        session=schedulers,
        log=SimpleNamespace(warning=lambda *_: None),
        task_pool=SimpleNamespace(spawn=asyncio.ensure_future),
    )
    watch = MemoryWatch(backend)

    async def look():
        await watch.look()
        await asyncio.sleep(0.05)

    async with asyncio.timeout(60):
        while not schedulers.told:
            await look()
        await look()
        assert schedulers.told == [("silent", "silent-1")], "it is told once"
        assert sleepers[0].poll() is None, "the worker stands still until its scheduler has heard of its end"
        other.config.worker_memory = 1
        while len(schedulers.told) < 2:
            await look()
        assert schedulers.told[1] == ("other", "other-1")
        schedulers.answer.set()
        assert [await asyncio.to_thread(sleeper.wait, 30) for sleeper in sleepers] == [-9, -9]
