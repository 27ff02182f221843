"""The GPUs that NVML tells of, each of its calls failing in turn; a stand-in for the driver, as there may be none."""

import contextlib
import json
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from armillary_hub.pool.device_books import DeviceBooks
from armillary_hub.pool.devices import Device, NvmlInventory, NvmlSilentError, SimulatedInventory, inventory_of
from armillary_hub.pool.nvml import Nvml, answer
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.store import LeaseStore
from armillary_kernels.processes import Process

GIB = 2**30


class NVMLError(Exception):
    pass


class NVMLError_NotFound(NVMLError):  # noqa: N801, N818 - NVML's names
    pass


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818
    pass


class Driver:
    """NVML with two GPUs. ``broken`` names calls that fail, ``"<call>"`` or ``"<call> <index>"``.

    ``divided`` names the GPUs that are divided: each into two instances, with a gap between them.
    """

    NVMLError = NVMLError
    NVMLError_NotFound = NVMLError_NotFound
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, *broken, divided=()):
        self.broken = set(broken)
        self.divided = divided
        self.open = self.inits = 0

    def _answer(self, call, index, answer):
        if f"no {call}" in self.broken:
            raise NVMLError_LibraryNotFound(call)
        if {call, f"{call} {index}"} & self.broken:
            raise NVMLError(call)
        return answer

    def nvmlInit(self):  # noqa: N802 - NVML's names
        self._answer("init", None, None)
        self.open += 1
        self.inits += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return self._answer("driver", None, "580.65.06")

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self._answer("count", None, 2)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self._answer("handle", index, index)

    def nvmlDeviceGetMinorNumber(self, handle):  # noqa: N802
        return self._answer("minor", handle, handle + 4)

    def nvmlDeviceGetMigMode(self, handle):  # noqa: N802
        return self._answer("mig", handle, (int(handle in self.divided), 0))

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):  # noqa: N802
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, index):  # noqa: N802
        if index == 1:
            raise NVMLError_NotFound("no instance")
        return f"{handle}.{index}"

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return self._answer("uuid", handle, f"MIG-{handle}" if isinstance(handle, str) else f"GPU-{handle}")

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self._answer("name", handle, b"NVIDIA H100")

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return self._answer("memory", handle, SimpleNamespace(total=80 * GIB))


FIRST, SECOND = (Device(f"GPU-{n}", n, "NVIDIA H100", 80 * GIB, driver="580.65.06", minor=n + 4) for n in range(2))


class Here:
    """NVML asked in this process, so that its answers can be changed."""

    def __init__(self, driver):
        self.nvml = Nvml(driver)

    def devices(self):
        return tuple(self.nvml.devices())


class HangsLater(Here):
    """One that gives no answer from a moment on."""

    hangs = False

    def devices(self):
        if self.hangs:
            raise NvmlSilentError("NVML has not answered for 3 s")
        return super().devices()


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ((), [FIRST, SECOND]),
        (("no init",), []),
        (("driver",), [replace(FIRST, driver=""), replace(SECOND, driver="")]),
        (("handle 0",), [replace(SECOND, index=0)]),
        (("uuid 1",), [FIRST]),
        (("mig",), [FIRST, SECOND]),
        (("name 0",), [replace(FIRST, name="NVIDIA GPU"), SECOND]),
        (("memory 1",), [FIRST, replace(SECOND, memory=0)]),
    ],
)
def test_what_fails_is_left_out_and_nothing_else(broken, found):
    assert Nvml(Driver(*broken)).devices() == found


@pytest.mark.parametrize(("broken", "why"), [("init", "NVML cannot be used: init"), ("count", "how many GPUs")])
def test_a_driver_that_is_there_and_fails_is_not_taken_for_none(broken, why):
    driver = Driver(broken)
    nvml = Nvml(driver)
    with pytest.raises(NvmlSilentError, match=why):
        nvml.devices()
    assert driver.open == 0
    assert json.loads(answer(nvml, "devices")).keys() == {"silent"}
    driver.broken = set()
    assert nvml.devices() == [FIRST, SECOND]


def test_nvml_stays_open_from_one_question_to_the_next():
    driver = Driver()
    nvml = Nvml(driver)
    for _ in range(3):
        nvml.devices()
    assert (driver.open, driver.inits) == (1, 1)


def test_nvml_is_opened_anew_for_a_gpu_that_fails_but_not_all_the_time():
    driver, now = Driver("handle 0"), [0.0]
    nvml = Nvml(driver, lambda: now[0])
    driver.broken = set()
    nvml.devices()
    driver.broken = {"handle 0"}
    for now[0] in range(0, 130, 10):
        assert nvml.devices()[0].trouble == "handle"
    assert (driver.open, driver.inits) == (1, 2)


def test_a_gpu_that_begins_to_fail_is_known_still():
    driver = Driver()
    nvml = Nvml(driver)
    nvml.devices()
    driver.broken = {"handle 0"}
    assert nvml.devices() == [replace(FIRST, trouble="handle"), SECOND]
    driver.broken = set()
    assert nvml.devices() == [FIRST, SECOND]


def test_the_instances_of_a_divided_gpu_are_devices_of_their_own():
    found = Nvml(Driver(divided=(0,))).devices()
    assert [(device.uuid, device.index) for device in found] == [("MIG-0.0", 0), ("MIG-0.2", 1), ("GPU-1", 2)]


def test_the_process_that_asks_nvml_answers_as_often_as_it_is_asked():
    inventory = NvmlInventory(patience=30)
    try:
        first, second = inventory.devices(), inventory.devices()
    finally:
        inventory.close()
    assert first == second
    assert all(device.memory and not device.trouble for device in first)


@pytest.mark.parametrize(
    "program", ["import signal; signal.pause()", "print('half', end='', flush=True); input(); input()"]
)
def test_nvml_that_hangs_is_not_waited_for(program):
    inventory = NvmlInventory([sys.executable, "-c", program], patience=0.2, first_patience=0.2)
    try:
        with pytest.raises(NvmlSilentError, match="has not answered"):
            inventory.devices()
    finally:
        inventory.close()


def test_the_first_answer_may_take_longer():
    program = "import time; input(); time.sleep(0.4); print('[]', flush=True); input(); input()"
    inventory = NvmlInventory([sys.executable, "-c", program], patience=0.2, first_patience=30)
    try:
        assert inventory.devices() == ()
        with pytest.raises(NvmlSilentError, match="has not answered for 0 s"):
            inventory.devices()
    finally:
        inventory.close()


def test_a_process_with_many_files_open_hears_nvml(tmp_path):
    inventory = NvmlInventory([sys.executable, "-c", "input(); print('[]', flush=True)"], patience=30)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with contextlib.ExitStack() as files:
            for _ in range(1100):
                files.enter_context(Path(os.devnull).open())
            assert inventory.devices() == ()
    finally:
        inventory.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_dies_is_started_again():
    inventory = NvmlInventory([sys.executable, "-c", "input(); print('[]', flush=True)"], patience=30)
    try:
        assert inventory.devices() == ()
        inventory._child._process.wait()
        assert inventory.devices() == ()
    finally:
        inventory.close()


def test_simulated_where_the_settings_say_so():
    assert [device.index for device in inventory_of(2).devices()] == [0, 1]
    assert isinstance(inventory_of(0), NvmlInventory)


@pytest.fixture
def store(tmp_path):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    yield store
    store.close()


def pool_of(store, inventory):
    return GpuPool(store, inventory, lambda user: Process.own().owner())


def ask(pool, user="alice", wanted=1):
    return pool.ask(user, "kernel", "", wanted, Process.own())


def test_a_driver_that_is_away_for_a_while_makes_people_wait(store):
    driver = Driver()
    pool = pool_of(store, Here(driver))
    held = ask(pool)
    assert held.devices == ("GPU-0",)
    driver.broken = {"count"}
    pool.look_at_devices()
    waiting = ask(pool, "bob")
    assert waiting.state == "queued"
    said = [change.reason for change in store.changes() if change.lease_id == held.id]
    assert said[-1] == "GPU 0 is failing: NVML does not say how many GPUs there are: count"
    driver.broken = set()
    pool.look_at_devices()
    pool.grant()
    assert store.get(waiting.id).devices == ("GPU-1",)
    assert store.get(held.id).devices == ("GPU-0",)


@pytest.mark.parametrize(("trouble", "state"), [("handle 1", "failing"), ("count", "failing")])
def test_a_device_in_trouble_is_given_to_nobody(store, trouble, state):
    driver = Driver()
    pool = pool_of(store, Here(driver))
    pool.look_at_devices()
    driver.broken = {trouble}
    pool.look_at_devices()
    assert {device.uuid: device.state for device in pool.devices()}["GPU-1"] == state
    assert ask(pool, wanted=2).state == "queued"


def test_while_nvml_hangs_nothing_is_given_and_nothing_is_taken(store):
    nvml = HangsLater(Driver())
    pool = pool_of(store, nvml)
    held = ask(pool)
    nvml.hangs = True
    pool.look_at_devices()
    assert ask(pool, "bob").state == "queued"
    assert store.get(held.id).devices == ("GPU-0",)
    assert {device.trouble for device in pool.devices()} == {"NVML has not answered for 3 s"}


def test_devices_that_are_gone_for_good_are_forgotten_at_the_next_start(store):
    pool = pool_of(store, SimulatedInventory(3))
    held = ask(pool)
    pool_of(store, SimulatedInventory(0)).look_at_devices()
    assert [(device.uuid, device.state) for device in DeviceBooks(store).all()] == [(held.devices[0], "lost")]


def test_a_driver_that_is_late_at_the_start_sends_nobody_to_the_cpu(store):
    driver = Driver()
    pool_of(store, Here(driver)).look_at_devices()
    driver.broken = {"init"}
    pool = pool_of(store, Here(driver))
    waiting = ask(pool)
    assert waiting.state == "queued"
    driver.broken = set()
    pool.look_at_devices()
    pool.grant()
    assert store.get(waiting.id).devices == ("GPU-0",)
    assert pool.driver == "580.65.06"


def test_what_was_gone_before_a_late_driver_is_forgotten_when_it_answers(store):
    pool_of(store, SimulatedInventory(3)).look_at_devices()
    driver = Driver("init")
    pool = pool_of(store, Here(driver))
    pool.look_at_devices()
    driver.broken = set()
    pool.look_at_devices()
    assert [device.uuid for device in pool.devices()] == ["GPU-0", "GPU-1"]


@pytest.mark.parametrize("broken", ["no init", "init"])
def test_no_driver_at_all_means_the_cpu(store, broken):
    lease = ask(pool_of(store, Here(Driver(broken))), wanted=4)
    assert (lease.state, lease.devices) == ("granted", ())


def test_simulated_inventory_of_none():
    assert SimulatedInventory(0).devices() == ()
