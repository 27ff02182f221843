"""The memory limit of a Dask worker holds, ranks included, and the person is told why a worker was ended."""

from __future__ import annotations

import ctypes
import os
import shlex
import sys
import warnings

import cloudpickle
import psutil
import pytest
from armillary import cluster
from armillary.clusters.worker_ends import worker_ends
from support.deployment import Deployment, wait_for
from support.hub_client import become
from support.person import sign_in

# Workers cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def running(deployment: Deployment):
    """A cluster of two small workers of ``mina``."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        become(monkeypatch, deployment, "mina")
        mine = cluster(workers=2, memory="1 GiB")
        yield mine
        mine.close()


def hoard_and_hold_the_gil(size: int) -> int:
    hoarded = bytearray(os.urandom(1024)) * (size // 1024)
    ctypes.PyDLL(None).sleep(300)  # unlike CDLL, it keeps the GIL: no thread of the worker can say or do anything
    return len(hoarded)


def test_a_worker_that_answers_nothing_is_ended_and_the_person_told(running):
    client = running.client()
    (name, pid), *_others = client.run(os.getpid).items()
    shown = running._repr_mimebundle_()
    assert shown
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        # As a closure, which travels by value: workers cannot import this file.
        future = client.submit(lambda: hoard_and_hold_the_gil(1200 * 2**20), workers=[name])
        wait_for(lambda: not psutil.pid_exists(pid) or future.done(), 60, "the worker is ended")
        future.cancel()
        wait_for(lambda: "its 1.00 GiB of memory" in running._widget._message.value, 30, "its widget says so")
    assert any("was ended: it used 1." in str(warning.message) for warning in told)
    end = worker_ends(client)[name]
    assert end.limit == 2**30 < end.used
    wait_for(lambda: running.workers == 2, 60, "another worker in its place")


TRAINING = """
import os
import numpy as np
import torch
from armillary import cluster, datasets, training


class Hoarder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        self.hoard = b""

    def forward(self, x):
        if os.environ.get("RANK") == "1" and not self.hoard:
            self.hoard = os.urandom(1024) * 2**20
        return self.layers(x)


images = np.random.default_rng(0).integers(0, 255, (200, 8, 8), dtype=np.uint8)
data = datasets.import_arrays(images, np.arange(200) % 10, name="noise")
run = training.fit(Hoarder(), data, workers=2, epochs=50, batch_size=4, cluster=cluster(workers=2, memory="1 GiB"))
try:
    run.wait(120)
except Exception as error:
    print(error)
"""


def test_a_rank_that_takes_too_much_is_named_with_what_to_do(deployment, running):
    answer = sign_in(deployment, "mina").shell(f"ARMILLARY_TRACKING=off python -c {shlex.quote(TRAINING)}")
    assert "The Dask worker of rank 1 was ended: it used 1." in answer.stdout, answer.stderr
    assert "of its 1.00 GiB of memory. All ranks were stopped." in answer.stdout
    assert 'armillary.cluster(memory="2.00 GiB")' in answer.stdout
    assert "smaller batch_size" in answer.stdout
    assert "A worker of your Dask cluster was ended: it used 1." in answer.stderr
