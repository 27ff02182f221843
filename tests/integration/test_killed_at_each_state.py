"""kill -9 of the pool, of kernels and of their server, with a kernel in each state: the books balance.

Real kernels on a real pool of four pretend GPUs. Five of them are at once queued, granted, being suspended, suspended,
and being restored; suspending and restoring last for as long as the test wants. How long the books take to balance is
measured by ``benchmarks/gpu_pool.py``.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.processes import Process
from support.gpu_pool import PoolProcess, eventually
from support.kernel_server import KernelServer, ServedKernel
from support.pool_ledger import Books

#: How often each is killed.
TIMES = 2


@dataclass
class Five:
    """A kernel in each state, and a process that holds the last GPU."""

    pool: PoolProcess
    server: KernelServer
    holder: Process
    held: Path
    queued: ServedKernel | None = None
    granted: ServedKernel | None = None
    suspending: ServedKernel | None = None
    suspended: ServedKernel | None = None
    restoring: ServedKernel | None = None

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
        address = f"{self.pool.url}/leases/{self.lease(kernel)['id']}"
        with httpx.Client(headers={"Authorization": "Bearer alice"}, trust_env=False, timeout=30) as alice:
            alice.put(f"{address}/activity", json={"busy": False}).raise_for_status()
            alice.post(f"{address}/{what}").raise_for_status()

    def reaches(self, kernel, state, step=""):
        def has():
            lease = self.lease(kernel)
            return lease and (lease["state"], lease["step"]) == (state, step)

        eventually(has, what=f"a kernel that is {step or state}")

    def is_idle(self, kernel):
        return self.lease(kernel)["idle_since"] is not None

    def only_the_holder_is_left(self):
        state = self.pool.state()
        return [one["holder"]["pid"] for one in [*state["queue"], *state["leases"]]] == [self.holder.pid]

    def balance(self, condition, what):
        """Assert that a condition comes true, and that the books balance."""
        eventually(condition, what=what)
        with contextlib.closing(sqlite3.connect(self.pool.database)) as database:
            database.row_factory = sqlite3.Row
            Books(database).check_thoroughly()

    def fill(self):
        """Start a kernel in each state; the holder takes the last GPU, once."""
        self.granted, self.suspending, self.suspended, self.restoring = (self.server.start_kernel() for _ in range(4))
        for kernel in (self.granted, self.suspending, self.suspended, self.restoring):
            self.reaches(kernel, "granted")
        (self.held / str(self.suspending.pid)).touch()
        for kernel in (self.suspending, self.suspended, self.restoring):
            # It says so once, some seconds after it was started; after that it leaves the lease to this test.
            eventually(partial(self.is_idle, kernel), what="a kernel that has said that it is idle")
            self.act(kernel, "suspend")
        self.reaches(self.suspending, "granted", "suspending")
        self.reaches(self.suspended, "suspended")
        self.reaches(self.restoring, "suspended")
        with LeaseClient(self.pool.connection("bob")) as client:
            client.bind(client.ask("job", 1, "", self.holder).id, self.holder)
        (self.held / str(self.restoring.pid)).touch()
        self.act(self.restoring, "resume")
        self.reaches(self.restoring, "granted", "restoring")
        self.queued = self.server.start_kernel()
        self.reaches(self.queued, "queued")

    def fill_again(self):
        """Start a kernel in each state once more, where all have ended."""
        self.pool.clear("bob")
        self.fill()


@pytest.fixture
def five(tmp_path):
    held = tmp_path / "held"
    held.mkdir()
    pool = PoolProcess(tmp_path, simulate_gpus=4, cuda=f"held:{held}")
    pool.start()
    server = KernelServer(pool.environment("alice"), tmp_path)
    sleeper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    five = Five(pool, server, Process.of(sleeper.pid), held)
    try:
        five.fill()
        yield five
    finally:
        five.server.close()
        sleeper.kill()
        sleeper.wait()
        pool.kill()


def test_a_pool_that_is_killed_goes_on_where_it_was(five):
    before = five.stand()
    for _ in range(TIMES):
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
    for round_ in range(TIMES):
        if round_:
            five.fill_again()
        for kernel in five.kernels:
            os.kill(kernel.pid, signal.SIGKILL)
        five.balance(five.only_the_holder_is_left, "kernels killed in each state leave nothing")


def test_kernels_that_are_killed_while_the_pool_is_away_leave_nothing_in_the_books(five):
    for round_ in range(TIMES):
        if round_:
            five.fill_again()
        five.pool.kill()
        for kernel in five.kernels:
            os.kill(kernel.pid, signal.SIGKILL)
        five.pool.start()
        what = "kernels killed in each state while the pool was away leave nothing"
        five.balance(five.only_the_holder_is_left, what)


def test_a_server_that_is_killed_leaves_nothing_in_the_books(five, tmp_path):
    for round_ in range(TIMES):
        if round_:
            five.server = KernelServer(five.pool.environment("alice"), tmp_path)
            five.fill_again()
        processes = [Process.of(kernel.pid) for kernel in five.kernels]
        five.server.kill()
        eventually(lambda: not any(one.is_alive() for one in processes), what="the end of a dead server's kernels")  # noqa: B023
        what = "a server killed with kernels in each state leaves nothing"
        five.balance(five.only_the_holder_is_left, what)
