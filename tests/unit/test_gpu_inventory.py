"""The GPUs that NVML tells of, each of its calls failing in turn; a stand-in for the driver, as there may be none."""

from types import SimpleNamespace

import pytest
from armillary_hub.pool.devices import Device, NvmlInventory, SimulatedInventory, inventory_of
from armillary_hub.pool.pool import INVENTORY_AGE, GpuPool
from armillary_hub.pool.store import LeaseStore
from armillary_kernels.processes import Process

GIB = 2**30


class NVMLError(Exception):
    pass


class Driver:
    """NVML with two GPUs. ``broken`` names calls that fail, ``"<call>"`` or ``"<call> <index>"``."""

    NVMLError = NVMLError

    def __init__(self, *broken):
        self.broken = set(broken)
        self.open = 0

    def _answer(self, call, index, answer):
        if {call, f"{call} {index}"} & self.broken:
            raise NVMLError(call)
        return answer

    def nvmlInit(self):  # noqa: N802 - NVML's names
        self._answer("init", None, None)
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self._answer("count", None, 2)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self._answer("handle", index, index)

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return self._answer("uuid", handle, f"GPU-{handle}")

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self._answer("name", handle, b"NVIDIA H100")

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return self._answer("memory", handle, SimpleNamespace(total=80 * GIB))


FIRST, SECOND = Device("GPU-0", 0, "NVIDIA H100", 80 * GIB), Device("GPU-1", 1, "NVIDIA H100", 80 * GIB)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ((), (FIRST, SECOND)),
        (("init",), ()),
        (("count",), ()),
        (("handle 0",), (SECOND,)),
        (("uuid 1",), (FIRST,)),
        (("name 0",), (Device("GPU-0", 0, "NVIDIA GPU", 80 * GIB), SECOND)),
        (("memory 1",), (FIRST, Device("GPU-1", 1, "NVIDIA H100", 0))),
    ],
)
def test_what_fails_is_left_out_and_nothing_else(broken, found):
    driver = Driver(*broken)
    assert NvmlInventory(driver).devices() == found
    assert driver.open == 0


def test_simulated_where_the_settings_say_so():
    assert [device.index for device in inventory_of(2).devices()] == [0, 1]
    assert isinstance(inventory_of(0), NvmlInventory)


def test_a_driver_that_is_away_for_a_while_makes_people_wait(tmp_path):
    driver, clock = Driver(), [0.0]
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    pool = GpuPool(store, NvmlInventory(driver), lambda user: Process.own().owner(), clock=lambda: clock[0])
    assert pool.ask("alice", "kernel", "", 1, Process.own()).devices == ("GPU-0",)
    driver.broken = {"init"}
    clock[0] += INVENTORY_AGE
    pool.devices()
    waiting = store.ask("bob", "kernel", "", 1, Process.own())
    pool.grant()
    assert store.get(waiting.id).state == "queued"
    driver.broken = set()
    clock[0] += INVENTORY_AGE
    pool.grant()
    assert store.get(waiting.id).devices == ("GPU-1",)
    store.close()


def test_no_driver_at_all_means_the_cpu(tmp_path):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    pool = GpuPool(store, NvmlInventory(Driver("init")), lambda user: Process.own().owner())
    lease = pool.ask("alice", "kernel", "", 4, Process.own())
    assert (lease.state, lease.devices) == ("granted", ())
    store.close()


def test_simulated_inventory_of_none():
    assert SimulatedInventory(0).devices() == ()
