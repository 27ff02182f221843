"""Two kernels on one GPU, each with a large tensor and a half-trained model: none loses a thing while the other has it.

On a machine with an NVIDIA GPU this runs with PyTorch on the GPU, and may not be skipped there; everywhere the same
runs over a fake of the driver (`support.fake_cuda_driver`).
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from armillary_hub.pool.devices import NvmlInventory
from armillary_hub.pool.tracing import obstacle
from support.fake_cuda_driver import command
from support.fake_gpus import FakeGpus
from support.gpu_pool import NVML_PATIENCE, PoolProcess, eventually
from support.notebook import Notebook

#: MiB of the tensor in each kernel.
TENSOR = 4096

#: MiB that it takes and gives back.
MORE = 512

#: Steps of training before the kernel is suspended, and after.
STEPS = 40

FAKE = """
import hashlib, random, sys
sys.path.insert(0, {tests!r})
from support.fake_gpus import FakeCuda

cuda = FakeCuda({folder!r})
cuda.put("tensor", {tensor}, [random.Random({seed}).gauss(0, 1) for _ in range(500)])
cuda.put("model", 64, [0.0, 0.0, 0.0])
points = [[random.Random(n).gauss(0, 1) for _ in range(3)] for n in range(64)]

def checksum():
    return hashlib.sha256(repr(cuda.get("tensor")).encode()).hexdigest()

def train(steps):
    weights = cuda.get("model")
    for _ in range(steps):
        errors = [sum(w * x for w, x in zip(weights, point)) - sum(point) * {seed} for point in points]
        for place in range(3):
            weights[place] -= 0.05 * sum(e * point[place] for e, point in zip(errors, points)) / len(points)
    cuda.put("model", 64, weights)
    return repr(sum(e * e for e in errors))

def take_all():
    cuda.put("rest", {rest}, [])

def take_more():
    cuda.put("rest", {more}, [])

def give_rest():
    cuda.free("rest")
"""

REAL = """
import hashlib, os
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
import torch

torch.use_deterministic_algorithms(True)
torch.manual_seed({seed})
tensor = torch.randint(0, 256, ({tensor} * 2**20,), dtype=torch.uint8, device="cuda")
inputs = torch.randn(4096, 128, device="cuda")
targets = inputs.sin().sum(dim=1, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(128, 512), torch.nn.GELU(), torch.nn.Linear(512, 1)).cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
held = []

def checksum():
    whole = hashlib.blake2b()
    for part in tensor.split(256 * 2**20):
        whole.update(part.cpu().numpy().data)
    return whole.hexdigest()

def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
    return repr(loss.item())

def take_all():
    free, _ = torch.cuda.mem_get_info()
    held.append(torch.ones(free - 2**28, dtype=torch.uint8, device="cuda"))
    assert int(held[0][-1]) == 1

def take_more():
    held.append(torch.ones({more} * 2**20, dtype=torch.uint8, device="cuda"))
    assert int(held[0][-1]) == 1

def give_rest():
    held.clear()
    torch.cuda.empty_cache()
"""


@dataclass
class Backend:
    """A GPU to try it on: its pool, and what a kernel's first cell is."""

    pool: PoolProcess
    inventory: NvmlInventory
    first_cell: str

    def code(self, seed):
        values = {"seed": seed, "tensor": TENSOR, "more": MORE}
        code = self.first_cell
        for name, value in values.items():
            code = code.replace(f"{{{name}}}", str(value))
        return code


REAL_ONE = pytest.param("real", marks=pytest.mark.gpu)


@pytest.fixture
def backend(request, tmp_path):
    """The real one; or a fake, whose NVML lists processes by their pids here, or in a container by the host's."""
    if request.param == "real":
        made = Backend(PoolProcess(tmp_path, 0, 0.0, "real"), NvmlInventory(patience=NVML_PATIENCE), REAL)
    else:
        gpus = FakeGpus.make(tmp_path / "gpus", mebibytes=8192)
        gpus.set(listed="here" if request.param == "fake" else request.param)
        code = FAKE.replace("{tests!r}", repr(str(Path(__file__).parents[1]))).replace(
            "{folder!r}", repr(str(gpus.folder))
        )
        code = code.replace("{rest}", str(8192 - TENSOR - 128))
        inventory = NvmlInventory(command(gpus.folder, "nvml"), patience=NVML_PATIENCE)
        made = Backend(PoolProcess(tmp_path, 0, 0.0, str(gpus.folder)), inventory, code)
    made.pool.start()
    yield made
    made.pool.kill()
    made.inventory.close()


def wait_until_suspended(notebook):
    with saying_why(notebook):
        eventually(lambda: notebook.lease and notebook.lease["state"] == "suspended", within=180, what="its suspension")


@contextlib.contextmanager
def saying_why(idle):
    """Say, where somebody waits in vain, why an idle kernel keeps its GPU: the driver may not look into it, say."""
    try:
        yield
    except Exception as error:
        reason = idle.lease and idle.lease["reason"]
        raise AssertionError(f"{idle.user}'s idle kernel keeps its GPU. {reason} {obstacle()}") from error


@contextlib.contextmanager
def one_gpu_left(pool):
    """Let somebody hold all other GPUs, with a cell that does not end."""
    others = len([device for device in pool.state()["devices"] if device["state"] == "working"]) - 1
    if not others:
        yield
        return
    with Notebook(pool, "carol", ARMILLARY_KERNEL_GPUS=str(others)) as bystander:
        bystander.begin("print('mine'); import time; time.sleep(3000)").shows("mine")
        yield


def begin_and_run_half(notebook, backend, seed):
    notebook.run(backend.code(seed), within=300)
    half = notebook.run(f"print(train({STEPS}))", within=120)
    return half, notebook.run("print(checksum())", within=120)


@pytest.mark.parametrize("backend", ["fake", "foreign", REAL_ONE], indirect=True)
def test_each_finds_everything_again(backend, capsys):
    pool = backend.pool
    with Notebook(pool, "alice") as uninterrupted:
        begin_and_run_half(uninterrupted, backend, 1)
        expected = uninterrupted.run(f"print(train({STEPS}))", within=120)
    with one_gpu_left(pool), Notebook(pool, "alice") as first, Notebook(pool, "bob") as second:
        half, alices = begin_and_run_half(first, backend, 1)
        with saying_why(first):
            _, bobs = begin_and_run_half(second, backend, 2)
        assert first.lease["state"] == "suspended"
        assert alices != bobs
        second.run("take_all(); give_rest()", within=120)
        assert first.run("print(checksum())", within=300) == alices
        finished = first.run(f"print(train({STEPS}))", within=120)
        assert finished == expected != half
        assert second.run("print(checksum())", within=300) == bobs
        wait_until_suspended(first)
        assert first.is_alive
        assert second.is_alive
    with capsys.disabled():
        print(f"\n{timings(pool)}")


def timings(pool):
    """Say how long suspending and restoring took, as the audit tells it."""
    begun, lines = {}, []
    for change in pool.history():
        at, lease, reason = datetime.fromisoformat(change["at"]), change["lease"], change["reason"]
        if reason.startswith(("is being suspended", "granted")):
            begun[lease] = at
        elif reason in ("suspended", "restored"):
            seconds = (at - begun[lease]).total_seconds()
            rate = TENSOR * 2**20 / 1e9 / seconds
            lines.append(f"{change['user']}: {reason} in {seconds:.2f} s, {rate:.2f} GB/s counting the tensor alone")
    assert lines
    return "\n".join(lines)


@pytest.mark.parametrize("backend", ["fake", REAL_ONE], indirect=True)
def test_nvml_tells_of_the_gpu_and_of_who_works_on_it(backend):
    devices = backend.inventory.devices()
    for device in devices:
        assert device.uuid.startswith(("GPU-", "MIG-"))
        assert not device.trouble
    before = {one.uuid: one.memory for one in backend.inventory.readings().devices}
    with Notebook(backend.pool, "alice") as notebook:
        notebook.run(backend.code(1), within=300)
        readings = backend.inventory.readings()
        # In a container NVML may list no processes, number them as its host does, or not tell what each uses.
        reading = max(readings.devices, key=lambda one: one.memory - before[one.uuid])
        (device,) = [one for one in devices if one.uuid == reading.uuid]
        assert before[reading.uuid] + TENSOR <= reading.memory <= device.memory // 2**20
        assert abs(reading.memory + reading.free - device.memory // 2**20) <= 1
        if sizes := [one.memory for one in readings.processes if one.uuid == reading.uuid and one.memory]:
            assert sum(sizes) >= TENSOR
        see_it_at_three_samples(backend.pool, notebook, reading)
        assert backend.pool.state()["unleased"] == []


def see_it_at_three_samples(pool, notebook, reading):
    """Follow what the kernel takes and gives in the pool's samples: what one of them has alone is no finding yet."""

    def used():
        (shown,) = [one["memory_used"] for one in pool.state()["devices"] if one["uuid"] == reading.uuid]
        return (shown or 0) // 2**20

    more = reading.memory + MORE // 2
    eventually(lambda: used() >= reading.memory - 64, what="a sample of the tensor")
    notebook.run("take_more()", within=60)
    eventually(lambda: used() >= more, what="a sample of more")
    notebook.run("give_rest()", within=60)
    eventually(lambda: used() < more, what="a sample of less")
