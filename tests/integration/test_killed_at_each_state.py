"""kill -9 of the pool, of kernels and of their server, with a kernel in each state: the books balance in two seconds.

Real kernels on a real pool of four pretend GPUs. Five of them are at once queued, granted, being suspended, suspended,
and being restored; suspending and restoring last for as long as the test wants.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.processes import Process
from support.gpu_pool import PoolProcess, eventually
from support.kernel_server import KernelServer, ServedKernel
from support.pool_ledger import Books

#: Seconds within which the books balance again.
BALANCED_WITHIN = 2.0


@dataclass
class Five:
    """A kernel in each state, and a process that holds the last GPU."""

    pool: PoolProcess
    server: KernelServer
    holder: Process
    held: Path
    queued: ServedKernel
    granted: ServedKernel
    suspending: ServedKernel
    suspended: ServedKernel
    restoring: ServedKernel

    @property
    def kernels(self):
        return (self.queued, self.granted, self.suspending, self.suspended, self.restoring)

    def lease(self, kernel):
        """How the lease of a kernel stands; None when there is none."""
        state = self.pool.state()
        found = [one for one in [*state["queue"], *state["leases"]] if one["holder"]["pid"] == kernel.pid]
        return found[0] if found else None

    def stand(self):
        """What the books say of each: state, step and GPUs."""
        return [(one["state"], one["step"], one["devices"]) for one in map(self.lease, self.kernels) if one]

    def act(self, kernel, what):
        address = f"{self.pool.url}/leases/{self.lease(kernel)['id']}/{what}"
        httpx.post(address, headers={"Authorization": "Bearer alice"}, trust_env=False).raise_for_status()

    def reaches(self, kernel, state, step=""):
        def has():
            lease = self.lease(kernel)
            return lease and (lease["state"], lease["step"]) == (state, step)

        eventually(has, what=f"a kernel that is {step or state}")

    def only_the_holder_is_left(self):
        state = self.pool.state()
        return [one["holder"]["pid"] for one in [*state["queue"], *state["leases"]]] == [self.holder.pid]

    def balance(self, condition, what, since=None):
        """Assert that the books balance and a condition holds in time; print how long it took."""
        begun = since or time.monotonic()
        eventually(condition, BALANCED_WITHIN, what)
        print(f"{what}: {time.monotonic() - begun:.2f} s")
        with contextlib.closing(sqlite3.connect(self.pool.database)) as database:
            database.row_factory = sqlite3.Row
            Books(database).check_thoroughly()


@pytest.fixture
def five(tmp_path):
    held = tmp_path / "held"
    held.mkdir()
    pool = PoolProcess(tmp_path, simulate_gpus=4, cuda=f"held:{held}")
    pool.start()
    server = KernelServer(pool.environment("alice"), tmp_path)
    sleeper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        yield _in_each_state(pool, server, Process.of(sleeper.pid), held)
    finally:
        server.close()
        sleeper.kill()
        sleeper.wait()
        pool.kill()


def _in_each_state(pool, server, holder, held):
    granted, suspending, suspended, restoring = (server.start_kernel() for _ in range(4))
    five = Five(pool, server, holder, held, None, granted, suspending, suspended, restoring)
    for kernel in (granted, suspending, suspended, restoring):
        five.reaches(kernel, "granted")
    (held / str(suspending.pid)).touch()
    for kernel in (suspending, suspended, restoring):
        five.act(kernel, "suspend")
    five.reaches(suspending, "granted", "suspending")
    five.reaches(suspended, "suspended")
    five.reaches(restoring, "suspended")
    with LeaseClient(pool.connection("bob")) as client:
        client.bind(client.ask("job", 1, "", holder).id, holder)
    (held / str(restoring.pid)).touch()
    five.act(restoring, "resume")
    five.reaches(restoring, "granted", "restoring")
    five.queued = server.start_kernel()
    five.reaches(five.queued, "queued")
    return five


def test_a_pool_that_is_killed_goes_on_where_it_was(five):
    before = five.stand()
    for _ in range(3):
        five.pool.kill()
        five.pool.start()
        five.balance(lambda: five.stand() == before, "a pool killed with a lease in each state is back")
    shutil.rmtree(five.held)
    five.reaches(five.suspending, "suspended")
    five.reaches(five.restoring, "granted")
    five.reaches(five.queued, "granted")
    device = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    used = [kernel.run(device) for kernel in (five.granted, five.restoring, five.queued)]
    assert len(set(used)) == 3
    os.kill(five.granted.pid, signal.SIGKILL)
    assert five.suspended.run(device) == used[0], "its cell waits for a GPU, and gets the one that becomes free"


def test_kernels_that_are_killed_leave_nothing_in_the_books(five):
    for kernel in five.kernels:
        os.kill(kernel.pid, signal.SIGKILL)
    five.balance(five.only_the_holder_is_left, "kernels killed in each state leave nothing")


def test_kernels_that_are_killed_while_the_pool_is_away_leave_nothing_in_the_books(five):
    five.pool.kill()
    for kernel in five.kernels:
        os.kill(kernel.pid, signal.SIGKILL)
    five.pool.start()
    five.balance(five.only_the_holder_is_left, "kernels killed in each state while the pool was away leave nothing")


def test_a_server_that_is_killed_leaves_nothing_in_the_books(five):
    processes = [Process.of(kernel.pid) for kernel in five.kernels]
    five.server.kill()
    eventually(lambda: not any(process.is_alive() for process in processes), what="the end of a dead server's kernels")
    five.balance(five.only_the_holder_is_left, "a server killed with kernels in each state leaves nothing")
