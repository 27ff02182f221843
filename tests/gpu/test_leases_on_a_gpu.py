"""What a lease means on a real GPU: without one none is seen, a share is kept, work behind the cells counts.

Every test here needs an NVIDIA GPU and PyTorch, and may not be skipped where there is one.
"""

import subprocess
import sys
from datetime import datetime

import pytest
from armillary_hub.pool.devices import NvmlInventory
from support.gpu_pool import NVML_PATIENCE, PoolProcess, eventually
from support.notebook import Notebook

pytestmark = pytest.mark.gpu

#: Take a GiB of the first GPU and keep it until the standard input ends.
TAKE = """
import sys, torch
taken = torch.ones(2**30, dtype=torch.uint8, device="cuda:0")
print(int(taken[-1]), flush=True)
sys.stdin.read()
"""

#: Work on the GPU beside the cells for a while, and say when it ended.
WORK = """
import threading, time, torch
product = torch.randn(4096, 4096, device="cuda")

def work():
    global product, ended
    begun = time.monotonic()
    while time.monotonic() < begun + 12:
        for _ in range(50):
            product = torch.nn.functional.normalize(product @ product)
        torch.cuda.synchronize()
    ended = time.time()

thread = threading.Thread(target=work)
thread.start()
"""


@pytest.fixture
def pool(tmp_path, request):
    made = PoolProcess(tmp_path, 0, getattr(request, "param", 0.0), "real")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def one_gpu(pool):
    if len(pool.state()["devices"]) > 1:
        pytest.fail("is about one GPU: let CUDA_VISIBLE_DEVICES or the container show only one")


def test_without_a_lease_no_gpu_is_seen(pool):
    with Notebook(pool, "alice", ARMILLARY_KERNEL_GPUS="0") as notebook:
        assert notebook.run("import torch; print(torch.cuda.is_available())", within=120) == "False"
    with Notebook(pool, "alice") as notebook:
        seen = notebook.run("import torch; print('GPU-' + str(torch.cuda.get_device_properties(0).uuid))", within=120)
        held = {device["uuid"] for device in pool.state()["devices"] if device["leases"]}
        assert held == {seen}
        assert notebook.run("print(torch.cuda.device_count())") == "1"


def test_a_process_without_a_lease_is_found(pool):
    inventory = NvmlInventory(patience=NVML_PATIENCE)
    with subprocess.Popen([sys.executable, "-c", TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as intruder:
        try:
            assert intruder.stdout.readline() == b"1\n"
            if intruder.pid not in {one.pid for one in inventory.readings().processes}:
                pytest.fail("NVML does not list the processes of this container by their pids in it")
            (found,) = eventually(lambda: pool.state()["unleased"], what="what uses a GPU without a lease")
            assert (found["pid"], found["reason"]) == (intruder.pid, "no lease")
            assert found["memory"] >= 2**30
        finally:
            intruder.stdin.close()
            inventory.close()
    eventually(lambda: not pool.state()["unleased"], what="its end")


def test_two_keep_to_their_shares_of_one_gpu(pool):
    share = "python-torch-share"
    with Notebook(pool, "alice", share) as first, Notebook(pool, "bob", share) as second:
        for notebook in (first, second):
            notebook.run("import torch; kept = torch.ones(3 * 2**30, dtype=torch.uint8, device='cuda')", within=120)
        devices = [device for device in pool.state()["devices"] if device["leases"]]
        assert [len(device["leases"]) for device in devices] == [2]
        too_much = first.begin("torch.ones(2 * 2**30, dtype=torch.uint8, device='cuda')")
        assert "OutOfMemoryError" in too_much.failure(within=60)
        assert second.run("print(int(kept[-1]))") == "1"
        assert pool.state()["unleased"] == []


@pytest.mark.parametrize("pool", [5.0], indirect=True, ids=["idle after 5 s"])
def test_work_behind_the_cells_keeps_the_gpu(pool, one_gpu):
    with Notebook(pool, "alice") as first, Notebook(pool, "bob") as second:
        first.run(WORK, within=120)
        second.run("print('mine')", within=180)
        assert first.lease["state"] == "suspended"
        suspended = moment(pool, first.lease["id"], "suspended")
        assert float(first.run("thread.join(); print(ended)", within=180)) < suspended
        assert first.run("print(bool(product.isfinite().all()))") == "True"


def moment(pool, lease, reason):
    """Return when the audit says that something happened, in seconds since 1970."""
    (change,) = [one for one in pool.history() if (one["lease"], one["reason"]) == (lease, reason)]
    return datetime.fromisoformat(change["at"]).timestamp()
