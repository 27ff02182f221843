"""What the GPUs did lately: what NVML says of them, what the books say of pretend ones, and for how long it is kept."""

from datetime import UTC, datetime, timedelta

import pytest
from armillary_hub.pool import pids
from armillary_hub.pool.devices import GpuProcess, NvmlInventory, Reading, Readings, SimulatedInventory
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.samples import DeviceSample, SampleLog
from armillary_hub.pool.store import LeaseStore
from armillary_kernels.processes import Process

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def sample(minutes, utilisation=0.0, uuid="GPU-0"):
    return DeviceSample(NOON + timedelta(minutes=minutes), uuid, 100, utilisation)


def test_samples_of_more_than_an_hour_ago_are_forgotten():
    log = SampleLog()
    for minutes in (0, 30, 61):
        log.add(NOON + timedelta(minutes=minutes), [sample(minutes)])
    assert log.of("GPU-0") == (sample(30), sample(61))
    log.add(NOON + timedelta(hours=3), [])
    assert (log.of("GPU-0"), log.latest()) == ((), {})


def test_a_gpu_that_the_last_sample_left_out_has_no_latest_one():
    log = SampleLog()
    log.add(NOON, [sample(0), sample(0, uuid="GPU-1")])
    log.add(NOON + timedelta(minutes=1), [sample(1)])
    assert log.latest() == {"GPU-0": sample(1)}


@pytest.mark.parametrize(
    ("process", "device", "alone", "worked"),
    [
        (0.5, 0.0, False, True),
        (0.0, 0.9, True, False),  # NVML says of the process that it was not the one
        (None, 0.9, True, True),
        (None, 0.9, False, False),
        (None, None, True, False),
    ],
)
def test_who_worked_is_what_nvml_says_of_the_process_or_else_of_a_gpu_that_nobody_shares(
    process, device, alone, worked, monkeypatch
):
    monkeypatch.setattr(pids, "SEES_ALL_PIDS", True)
    log = SampleLog()
    log.add(NOON, [sample(0)], [GpuProcess(7, "GPU-0", 10, 0.0)])
    log.add(NOON + timedelta(minutes=1), [sample(1, device)], [GpuProcess(7, "GPU-0", 10, process)])
    assert log.last_worked({7}, "GPU-0", alone=alone) == ((NOON, NOON + timedelta(minutes=1)) if worked else None)
    assert log.last_worked({8}, "GPU-0", alone=alone) is None


@pytest.mark.parametrize("listed", [(), (GpuProcess(2**23, "GPU-0", 10, 0.5),), (GpuProcess(2**23, "GPU-1", 10, 0.5),)])
def test_in_a_container_where_nvml_lists_nobody_or_the_hosts_pids_the_gpus_own_work_counts(listed, monkeypatch):
    monkeypatch.setattr(pids, "SEES_ALL_PIDS", False)
    log = SampleLog()
    log.add(NOON, [sample(0)])
    assert log.last_worked({7}, "GPU-0", alone=True) is None
    log.add(NOON + timedelta(minutes=1), [sample(1, 0.9)], listed)
    assert log.last_worked({7}, "GPU-0", alone=True) == (NOON, NOON + timedelta(minutes=1))
    assert log.last_worked({7}, "GPU-0", alone=False) is None, "it may be another's on the same GPU"


@pytest.fixture
def store(tmp_path):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    yield store
    store.close()


def test_a_pretend_gpu_is_as_busy_as_its_holders_kernel_says(store):
    pool = GpuPool(store, SimulatedInventory(2), lambda user: Process.own().owner())
    lease = pool.ask("alice", "kernel", "", 1, Process.own())
    pool.take_sample()
    assert {one.utilisation for one in pool.samples.latest().values()} == {0.0}, "it does not run yet"
    pool.bind("alice", lease.id, Process.own(), True)
    pool.take_sample()
    latest = pool.samples.latest()
    assert {uuid: one.utilisation for uuid, one in latest.items()} == {"SIMULATED-0": 1.0, "SIMULATED-1": 0.0}
    assert latest["SIMULATED-0"].memory == 16 * 1024
    assert [one.pid for one in pool.samples.processes()] == [Process.own().pid]
    pool.note_activity("alice", lease.id, False)
    pool.take_sample()
    pool.take_sample()
    assert pool.samples.latest()["SIMULATED-0"].utilisation == 0.0


def test_the_process_that_asks_nvml_answers_both_questions():
    inventory = NvmlInventory(patience=30)
    try:
        devices, readings = inventory.devices(), inventory.readings()
    finally:
        inventory.close()
    assert {one.uuid for one in readings.devices} == {one.uuid for one in devices}


def test_what_fails_to_be_read_is_left_out(store):
    class Half(SimulatedInventory):
        def readings(self):
            return Readings((Reading("SIMULATED-1", 5, None),), ())

    pool = GpuPool(store, Half(2), lambda user: Process.own().owner())
    pool.take_sample()
    assert list(pool.samples.latest()) == ["SIMULATED-1"]
