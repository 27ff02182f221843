"""Linux lets a person's process open the GPUs of its lease, and no others: real control groups, processes and files."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from armillary_hub.pool import device_groups
from armillary_hub.pool.device_groups import DeviceGroups
from armillary_hub.pool.devices import SimulatedInventory
from armillary_hub.pool.pool import GpuPool
from armillary_hub.pool.store import LeaseStore
from armillary_hub.pool.suspender import SimulatedSuspender
from armillary_kernels.processes import Process
from support import device_files
from support.gpu_pool import eventually

NAME = "test"

#: Accounts that nothing else on this machine runs as.
PERSON, SOMEBODY_ELSE = 64_321, 64_322

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as control groups do")


@pytest.fixture
def groups():
    made = DeviceGroups(NAME, lambda uid: uid == PERSON)
    assert made.problem is None
    yield made
    device_groups.remove(NAME)
    assert left() == []


def left():
    """Return the groups that there are."""
    root = device_groups._mounted()
    return sorted(folder.name for folder in root.glob(f"**/armillary-{NAME}-*"))


@pytest.fixture
def start(tmp_path_factory):
    """Start processes of a uid that look which of two GPUs, and NVIDIA's control file, they may open."""
    folder = tmp_path_factory.mktemp("devices")
    for each in (folder, *folder.parents[:-2]):
        each.chmod(each.stat().st_mode | 0o011)
    look = device_files.make(folder, (0, 1, 255))
    started = []

    def begin(uid=PERSON):
        started.append(device_files.Looker(look, uid))
        return started[-1]

    yield begin
    for one in started:
        one.kill()
        one.communicate()


@pytest.fixture
def pool(tmp_path, groups):
    store = LeaseStore(f"sqlite:///{tmp_path}/pool.sqlite")
    suspends = SimulatedSuspender()
    yield GpuPool(store, SimulatedInventory(2), lambda user: PERSON, suspender=suspends, device_groups=groups)
    store.close()


def bound(pool, process, gpus=1):
    """Return the lease of a process."""
    holder = Process.of(process.pid)
    lease = pool.ask("ann", "kernel", "a", gpus, holder)
    return pool.bind("ann", lease.id, holder, in_use=True)


def test_without_a_lease_no_gpu_is_opened(pool, start):
    person, other = start(), start(SOMEBODY_ELSE)
    pool.take_sample()
    assert person.say() == ["EPERM", "EPERM", "ENXIO"]
    assert other.say() == ["ENXIO", "ENXIO", "ENXIO"]


def test_with_a_lease_its_own_gpu_is(pool, start):
    first, second, idle = start(), start(), start()
    bound(pool, first)
    bound(pool, second)
    pool.take_sample()
    assert [one.say()[:2] for one in (first, second, idle)] == [["ENXIO", "EPERM"], ["EPERM", "ENXIO"], ["EPERM"] * 2]


def test_it_holds_until_the_lease_ends_and_while_another_waits(pool, start):
    holds, waits = start(), start()
    lease = bound(pool, holds, 2)
    queued = bound(pool, waits)
    pool.take_sample()
    assert queued.state == "queued"
    assert [one.say()[:2] for one in (holds, waits)] == [["ENXIO", "ENXIO"], ["EPERM", "EPERM"]]
    pool.give_back("ann", lease.id)
    pool.bind("ann", queued.id, Process.of(waits.pid), in_use=True)
    assert waits.say()[:2] == ["ENXIO", "EPERM"]
    pool.take_sample()
    assert holds.say()[:2] == ["EPERM", "EPERM"]


def test_a_suspended_process_opens_the_gpu_that_it_comes_back_to(pool, start):
    first, second = start(), start()
    lease = bound(pool, first)
    other = bound(pool, second)
    pool.note_activity("ann", lease.id, busy=False)
    pool.suspend("ann", lease.id)
    eventually(lambda: pool.look("ann", lease.id).state == "suspended", what="its suspension")
    pool.watch()
    assert first.say()[:2] == ["EPERM", "EPERM"]
    third = start()
    bound(pool, third)
    pool.give_back("ann", other.id)
    pool.resume("ann", lease.id)
    eventually(lambda: pool.look("ann", lease.id).step == "", what="its return")
    assert [one.say()[:2] for one in (first, third)] == [["EPERM", "ENXIO"], ["ENXIO", "EPERM"]]


def test_children_are_where_their_parents_are(pool, start):
    parent = start()
    child = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    pid = int(parent.say(f"{child}; print(child.pid, flush=True)")[0])
    bound(pool, parent)
    pool.take_sample()
    assert group_of(pid) == group_of(parent.pid)
    parent.say("child.kill(); print(child.wait(), flush=True)")


def group_of(pid):
    lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("0::")).rpartition("/")[2]


def test_another_pool_goes_on_where_a_killed_one_was(pool, start, groups):
    holder = start()
    lease = bound(pool, holder)
    again = DeviceGroups(NAME, lambda uid: uid == PERSON)
    again.keep(lambda: [replace(lease, devices=("SIMULATED-1",))], {"SIMULATED-0": 0, "SIMULATED-1": 1})
    assert holder.say()[:2] == ["EPERM", "ENXIO"]
    again.keep(list, {}, everybody=True)
    assert holder.say()[:2] == ["EPERM", "EPERM"]
    assert left() == [f"armillary-{NAME}-none"]


def test_a_gpu_whose_number_nvml_does_not_tell_bars_nobody(groups, pool, start):
    holder = start()
    lease = bound(pool, holder)
    groups.keep(lambda: [replace(lease, devices=("GPU-new",))], {}, everybody=True)
    assert holder.say()[0] == "ENXIO"


def test_groups_of_leases_that_have_ended_go(pool, start):
    holder = start()
    lease = bound(pool, holder)
    pool.take_sample()
    assert f"armillary-{NAME}-{lease.id}" in left()
    holder.kill()
    holder.wait()

    def gone():
        pool.watch()
        pool.take_sample()
        return f"armillary-{NAME}-{lease.id}" not in left()

    eventually(gone, what="the end of the group")


def test_two_deployments_keep_out_of_each_others_way(groups, start):
    person = start()
    groups.keep(list, {}, everybody=True)
    DeviceGroups("other", lambda uid: uid == PERSON).keep(list, {}, everybody=True)
    assert group_of(person.pid) == f"armillary-{NAME}-none"
