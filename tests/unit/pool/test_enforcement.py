"""Who uses a GPU without a lease: shown, logged once, and ended only where the admin wants it and it is a person's."""

import os
import subprocess
import time

import pytest
from armillary_hub.pool import enforcement
from armillary_hub.pool.devices import GpuProcess, Reading, Readings, SimulatedInventory
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.store import LeaseStore
from armillary_kernels import gpu_environment
from armillary_kernels.processes import Process

GPU, OTHER = "SIMULATED-0", "SIMULATED-1"


class Nvml(SimulatedInventory):
    """Two GPUs, and processes on them as a test says."""

    def __init__(self):
        super().__init__(2)
        self.processes = ()

    def readings(self):
        return Readings(tuple(Reading(uuid, 0, 0.0, 16384) for uuid in (GPU, OTHER)), tuple(self.processes))


@pytest.fixture
def store(tmp_path):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    yield store
    store.close()


@pytest.fixture
def nvml():
    return Nvml()


@pytest.fixture(autouse=True)
def no_device_files(monkeypatch):
    """The processes here have no GPU open, and are taken as if they had."""
    monkeypatch.setattr(enforcement, "is_on_gpu", lambda pid: True)
    monkeypatch.setattr(enforcement, "SEES_ALL_PIDS", True)


@pytest.fixture
def program():
    program = subprocess.Popen(["sleep", "60"])
    yield program
    program.kill()
    program.wait()


def pool_of(store, nvml, may_end=None):
    return GpuPool(store, nvml, lambda user: os.getuid(), may_end=may_end, start=lambda task: task())


def found(pool):
    return [(use.pid, use.uuid, use.reason) for use in pool.enforcement.unleased]


def test_it_is_shown_and_logged_once_when_two_samples_have_it(store, nvml, program, caplog):
    pool = pool_of(store, nvml)
    nvml.processes = [GpuProcess(program.pid, GPU, 300)]
    pool.take_sample()
    assert found(pool) == []
    for _ in range(3):
        pool.take_sample()
        assert found(pool) == [(program.pid, GPU, "no lease")]
    use = pool.enforcement.unleased[0]
    assert (use.memory, use.account) == (300, subprocess.check_output(["id", "-un"], text=True).strip())
    assert use.since <= pool.samples.taken
    assert len([one for one in caplog.records if f"Process {program.pid}" in one.message]) == 1
    nvml.processes = []
    pool.take_sample()
    assert found(pool) == []
    assert program.poll() is None


def test_a_process_that_is_slow_to_end_keeps_no_sample_waiting(store, nvml, program):
    tasks = []
    pool = GpuPool(store, nvml, lambda user: os.getuid(), may_end=lambda uid: True, start=tasks.append)
    nvml.processes = [GpuProcess(program.pid, GPU, 300)]
    for _ in range(4):
        pool.take_sample()
    assert program.poll() is None
    assert len(tasks) == 1, "it is ended once, however many samples have it meanwhile"
    tasks[0]()
    program.wait(10)
    assert found(pool) == [(program.pid, GPU, "no lease")]


def test_what_a_holder_has_started_is_covered_on_its_gpus_and_no_others(store, nvml, program):
    pool = pool_of(store, nvml)
    lease = pool.ask("alice", "kernel", "", 1, Process.own())
    nvml.processes = [GpuProcess(program.pid, GPU, 300), GpuProcess(program.pid, OTHER, 200)]
    for _ in range(2):
        pool.take_sample()
    assert found(pool) == [(program.pid, OTHER, "no lease")]
    pool.give_back("alice", lease.id)
    for _ in range(2):
        pool.take_sample()
    assert {one[1] for one in found(pool)} == {GPU, OTHER}


def test_who_takes_more_than_a_share_is_shown_and_never_ended(store, nvml, program):
    pool = pool_of(store, nvml, may_end=lambda uid: True)
    pool.ask("alice", "kernel", "", 1, Process.own(), memory=4096)
    nvml.processes = [GpuProcess(program.pid, GPU, 5000)]
    for _ in range(2):
        pool.take_sample()
    assert found(pool) == []
    nvml.processes = [GpuProcess(program.pid, GPU, 5200)]
    for _ in range(3):
        pool.take_sample()
    assert found(pool) == [(program.pid, GPU, "more than its share")]
    assert program.poll() is None


@pytest.mark.parametrize(("may_end", "ended"), [(lambda uid: uid == os.getuid(), True), (lambda uid: False, False)])
def test_it_is_ended_if_the_admin_wants_it_and_it_is_a_persons(store, nvml, program, may_end, ended):
    pool = pool_of(store, nvml, may_end)
    nvml.processes = [GpuProcess(program.pid, GPU, 300)]
    pool.take_sample()
    assert program.poll() is None
    pool.take_sample()
    assert (program.poll() is not None) is ended


def test_what_cannot_be_seen_from_here_and_the_pool_itself_are_left_alone(store, nvml):
    pool = pool_of(store, nvml, may_end=lambda uid: True)
    nobody = 2**22 + 1  # no pid is that large
    nvml.processes = [GpuProcess(nobody, GPU, 300), GpuProcess(os.getpid(), GPU, 1), GpuProcess(os.getppid(), GPU, 1)]
    for _ in range(3):
        pool.take_sample()
    assert {one[0] for one in found(pool)} == {nobody, os.getpid(), os.getppid()}
    assert pool.enforcement.unleased[0].account == ""


def test_in_a_container_nothing_is_said_of_pids_that_mean_another_process_here(store, nvml, program, monkeypatch):
    monkeypatch.setattr(enforcement, "is_on_gpu", lambda pid: False)
    monkeypatch.setattr(enforcement, "SEES_ALL_PIDS", False)
    pool = pool_of(store, nvml, may_end=lambda uid: True)
    nvml.processes = [GpuProcess(program.pid, GPU, 300)]
    for _ in range(3):
        pool.take_sample()
    assert found(pool) == []
    assert program.poll() is None


def test_who_has_a_gpu_open_is_seen_by_its_files(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(gpu_environment, "DEVICE_FILES", str(tmp_path / "nvidia"))
    assert not enforcement.is_on_gpu(os.getpid())
    with (tmp_path / "nvidia0").open("w"):
        assert enforcement.is_on_gpu(os.getpid())
    assert not enforcement.is_on_gpu(2**22 + 1)


def test_another_process_with_its_pid_is_another_one(store, nvml, program, monkeypatch):
    pool = pool_of(store, nvml)
    nvml.processes = [GpuProcess(program.pid, GPU, 300)]
    pool.take_sample()
    monkeypatch.setattr(Process, "of", classmethod(lambda cls, pid: cls(pid, time.monotonic_ns())))
    pool.take_sample()
    assert found(pool) == []
