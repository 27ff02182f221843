"""Which workers of a cluster ask for their GPUs together."""

from types import SimpleNamespace

import pytest
from armillary_hub.clusters.gpu_groups import WorkerGroups
from dask_gateway_server.backends.db_base import JobStatus


class Cluster:
    """A cluster to which Dask Gateway adds workers, all in one go as it does, before any of them is looked at."""

    def __init__(self):
        self.workers, self.with_gpus = {}, set()
        self.groups = WorkerGroups(lambda worker: worker.name in self.with_gpus)

    def scale_up(self, *names):
        for name in names:
            created = {"status": JobStatus.CREATED, "target": JobStatus.RUNNING}
            self.workers[name] = SimpleNamespace(name=name, cluster=self, **created)

    def ask(self, *names):
        for name in names:
            self.groups.join(self.workers[name])
        return [self.groups.together(self.workers[name]) for name in names]


@pytest.fixture
def cluster():
    return Cluster()


def test_workers_that_are_lacking_at_the_same_time_are_a_group(cluster):
    cluster.scale_up("a", "b", "c")
    groups = cluster.ask("a", "b", "c")
    assert len(set(groups)) == 1
    assert groups[0].size == 3


def test_who_comes_later_joins_those_that_wait(cluster):
    cluster.scale_up("a")
    [alone] = cluster.ask("a")
    assert alone.size == 1
    cluster.scale_up("b", "c")
    assert [(one.id, one.size) for one in cluster.ask("b", "c")] == [(alone.id, 3)] * 2


def test_who_has_gpus_or_has_ended_does_not_count(cluster):
    cluster.scale_up("a", "b")
    [first, _] = cluster.ask("a", "b")
    cluster.workers["b"].target = JobStatus.STOPPED
    assert cluster.ask("a")[0].size == 1
    cluster.with_gpus.add("a")
    cluster.scale_up("c")
    [instead] = cluster.ask("c")
    assert (instead.size, instead.id != first.id) == (1, True), "it waits for nobody, and nobody for it"
