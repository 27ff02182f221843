"""Real kernels on a real pool with two pretend GPUs; whose kernels they are is what a stand-in sign-in says."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid

import httpx
import nbformat
import papermill
import pytest
from armillary_kernels.kernel_notes import Note
from armillary_kernels.leases import PoolUnreachableError
from armillary_kernels.processes import Process
from armillary_kernels.waiting import NoGpuFreeError
from jupyter_client import AsyncKernelManager
from support.gpu_pool import PoolProcess, eventually
from support.strange_pool import StrangePool

SPEC = "python-torch"
BUSY = "print('mine'); import time; time.sleep(600)"
GPU = "import os; print(repr(os.environ.get('CUDA_VISIBLE_DEVICES')), os.getpid())"


@pytest.fixture(scope="module")
def running_pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"))
    pool.start()
    yield pool
    pool.kill()


@pytest.fixture(scope="module")
def running_lending_pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"), idle_after=0.0)
    pool.start()
    yield pool
    pool.kill()


@pytest.fixture
def pool(running_pool, monkeypatch):
    """A pool that lends nothing of an idle kernel to others for ten minutes."""
    yield as_alice(running_pool, monkeypatch)
    running_pool.clear()


@pytest.fixture
def lending_pool(running_lending_pool, monkeypatch):
    """A pool that lends what an idle kernel has at once."""
    yield as_alice(running_lending_pool, monkeypatch)
    running_lending_pool.clear()


def as_alice(pool, monkeypatch):
    """Let this process, and the kernels that it starts, be alice's, until ``pool.as_user`` says another."""
    pool.as_user = lambda user: [monkeypatch.setenv(*variable) for variable in pool.environment(user).items()]
    pool.as_user("alice")
    return pool


@contextlib.asynccontextmanager
async def kernel(name=SPEC, env=None, **options):
    manager = AsyncKernelManager(kernel_name=name, **options)
    await manager.start_kernel(**({"env": env} if env else {}))
    try:
        yield manager
    finally:
        await manager.shutdown_kernel(now=True)


def client_of(manager):
    """Return a client whose messages have ids of their own; those of one manager would share theirs."""
    client = manager.client()
    client.session.session = uuid.uuid4().hex
    return client


async def run(manager, code=GPU):
    """Run a cell; return its printed text, or its error as (name, whole text)."""
    outputs = []
    client = client_of(manager)
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        reply = await client.execute_interactive(code, timeout=60, output_hook=outputs.append)
    finally:
        client.stop_channels()
    if reply["content"]["status"] == "error":
        (error,) = [output["content"] for output in outputs if output["msg_type"] == "error"]
        return error["ename"], "\n".join(error["traceback"])
    return "".join(output["content"]["text"] for output in outputs if output["msg_type"] == "stream").strip()


class Cell:
    """A cell that runs: what it shows now, as a notebook would."""

    def __init__(self, client, request):
        self.client, self.request = client, request
        self._displays = {}
        self.error = None
        self.others = ""

    @property
    def text(self):
        return "".join(self._displays.values())

    async def shows(self, text, within=60):
        """Wait until the cell shows a text."""
        async with asyncio.timeout(within):
            while text not in self.text:
                await self._follow()

    async def shows_of_another(self, text, within=60):
        """Wait until a text is shown for a widget: below the cell that was the last when it sent its message."""
        async with asyncio.timeout(within):
            while text not in self.others + self.text:
                await self._follow()

    async def comm_messages(self, count, within=60):
        """Wait for what widgets say; returns the data of each message."""
        async with asyncio.timeout(within):
            said = []
            while len(said) < count:
                message = await self.client.get_iopub_msg(timeout=None)
                said += [message["content"]["data"]] if message["msg_type"] == "comm_msg" else []
            return said

    async def result(self, within=60):
        """Wait until the cell has ended; return what it shows, or its error as (name, whole text)."""
        async with asyncio.timeout(within):
            while not await self._follow():
                pass
        return self.error or self.text

    async def _follow(self):
        message = await self.client.get_iopub_msg(timeout=None)
        content, kind = message["content"], message["msg_type"]
        if message["parent_header"].get("msg_id") != self.request:
            self.others += str(content)
            return False
        if kind == "stream":
            self._displays[uuid.uuid4().hex] = content["text"]
        elif kind in ("display_data", "update_display_data"):
            self._displays[content["transient"].get("display_id", uuid.uuid4().hex)] = content["data"]["text/plain"]
        elif kind == "clear_output":
            self._displays.clear()
        elif kind == "error":
            self.error = content["ename"], "\n".join(content["traceback"])
        return kind == "status" and content["execution_state"] == "idle"


@contextlib.asynccontextmanager
async def talking(manager):
    """Talk to a kernel."""
    client = client_of(manager)
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()


def send(client, kind, metadata=None, **content):
    client.shell_channel.send(client.session.msg(kind, content, metadata=metadata))


@contextlib.asynccontextmanager
async def running_cell(manager, code=GPU, comm=()):
    """Run a cell, after a widget has sent numbers."""
    async with talking(manager) as client:
        for number in comm[1:]:
            send(client, "comm_msg", comm_id=comm[0], data={"n": number})
        yield Cell(client, client.execute(code))


async def test_each_kernel_has_a_gpu_and_the_third_waits_until_one_is_free(pool):
    async with kernel() as first:
        pool.as_user("bob")
        async with kernel() as second:
            pool.as_user("carol")
            async with kernel() as third:
                shown = [await run(manager) for manager in (first, second)]
                assert [text.split() for text in shown] == [
                    ["'0'", str(first.provisioner.pid)],
                    ["'1'", str(second.provisioner.pid)],
                ]
                assert pool.holders() == {0: "alice", 1: "bob"}
                (waiting,) = pool.state()["queue"]
                assert waiting["holder"]["pid"] == third.provisioner.pid
                async with running_cell(third) as cell:
                    await cell.shows("Waiting for a GPU: place 1 in the queue")
                    assert "GPU 0: alice, since" in cell.text
                    assert "GPU 1: bob, since" in cell.text
                    await first.shutdown_kernel()
                    assert (await cell.result()).split() == ["'0'", str(third.provisioner.pid)]
                assert pool.holders() == {0: "carol", 1: "bob"}


async def test_a_cell_that_may_not_wait_longer_says_who_holds_the_gpus(pool, monkeypatch):
    monkeypatch.setenv("ARMILLARY_KERNEL_WAIT_SECONDS", "0.3")
    async with kernel(), kernel(), kernel() as third:
        name, text = await run(third)
        assert name == "NoGpuFreeError"
        assert "Your place in the queue was 1." in text
        assert "GPU 0: you, since" in text
        assert "Run the cell again" in text
        assert pool.state()["queue"] == []
    assert pool.holders() == {}


@pytest.mark.parametrize("now", [False, True])
async def test_a_restart_keeps_the_lease(pool, now):
    async with kernel() as manager:
        (before,) = pool.state()["leases"]
        await manager.restart_kernel(now=now)
        (after,) = pool.state()["leases"]
        assert after["id"] == before["id"]
        assert after["holder"]["pid"] == manager.provisioner.pid != before["holder"]["pid"]
        assert after["holder"]["in_use"]
        assert (await run(manager)).startswith("'0'")


@contextlib.asynccontextmanager
async def everything_taken(pool, user="bob"):
    """Let somebody hold both GPUs, busily; yields the kernel."""
    pool.as_user(user)
    async with (
        kernel(env=os.environ | {"ARMILLARY_KERNEL_GPUS": "2"}) as manager,
        running_cell(manager, BUSY) as cell,
    ):
        await cell.shows("mine")
        pool.as_user("alice")
        yield manager


async def interrupted(cell, manager):
    await manager.interrupt_kernel()
    name, text = await cell.result()
    assert name == "KeyboardInterrupt"
    return text


async def test_an_interrupt_while_waiting_gives_the_place_back(pool):
    async with everything_taken(pool) as bobs, kernel() as manager:
        async with running_cell(manager) as cell:
            await cell.shows("place 1 in the queue")
            assert "Interrupted while waiting" in await interrupted(cell, manager)
            assert pool.state()["queue"] == []
        async with running_cell(manager) as cell:
            await cell.shows("place 1 in the queue")
            await bobs.shutdown_kernel(now=True)
            assert (await cell.result()).startswith("'0'")


@pytest.mark.parametrize("now", [False, True])
async def test_a_restart_keeps_the_place_also_while_a_cell_waits(pool, now):
    async with everything_taken(pool), kernel() as manager, running_cell(manager) as cell:
        await cell.shows("place 1 in the queue")
        (before,) = pool.state()["queue"]
        await manager.restart_kernel(now=now)
        (after,) = pool.state()["queue"]
        assert after["id"] == before["id"]
        assert after["holder"]["pid"] == manager.provisioner.pid != before["holder"]["pid"]


async def test_a_cell_that_waited_may_ask_the_person_something(pool):
    async with everything_taken(pool) as bobs, kernel() as manager, running_cell(manager) as cell:
        client = cell.client
        asks = Cell(client, client.execute("print(input('name? '))", allow_stdin=True))
        await cell.shows("place 1 in the queue")
        await bobs.shutdown_kernel(now=True)
        question = await client.get_stdin_msg(timeout=60)
        assert question["content"]["prompt"] == "name? "
        client.input("Ann")
        assert await asks.result() == "Ann\n"


async def test_a_quota_that_is_used_up_is_said_in_the_cell(pool):
    address, admin = f"{pool.url}/quotas/user/alice", {"Authorization": "Bearer admin:root"}
    async with httpx.AsyncClient(headers=admin, trust_env=False, timeout=60) as client:
        (await client.put(address, json={"gpus": 1})).raise_for_status()
        try:
            async with kernel(), kernel() as second, running_cell(second) as cell:
                await cell.shows("Your own quota is used up: shut down another kernel of yours")
                assert pool.holders() == {0: "alice"}
        finally:
            (await client.delete(address)).raise_for_status()


#: Has no file descriptor left once a file is there, and removes it. What is closed later makes no room: 8 may be open.
RUNS_OUT = """
import os, resource, threading, time
def run_out():
    while not os.path.exists({file!r}):
        time.sleep(0.02)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    os.unlink({file!r})
threading.Thread(target=run_out, daemon=True).start()
"""


async def test_a_process_without_file_descriptors_says_so_in_the_cell(pool, tmp_path):
    """Any other error than the pool's must end the cell too."""
    file = tmp_path / "now"
    async with kernel() as manager, talking(manager) as client:
        await client.execute_interactive(RUNS_OUT.format(file=str(file)), timeout=60)
        await idle(pool)
        file.touch()
        await asyncio.to_thread(eventually, lambda: not file.exists(), what="no file descriptor left")
        reply = (await client.execute_interactive("print(1)", timeout=60))["content"]
        assert (reply["status"], reply["ename"]) == ("error", "NoGpuError")
        text = "\n".join(reply["traceback"])
        assert "The cell did not run: its GPUs could not be asked for." in text
        assert "Too many open files" in text


async def idle(pool):
    """Wait until the pool believes the only kernel idle, so that its gate is closed."""
    await asyncio.to_thread(eventually, lambda: pool.state()["leases"][0]["idle_since"])


async def test_a_kernel_that_dies_while_queued_leaves_the_queue(pool):
    async with everything_taken(pool), kernel() as manager:
        assert len(pool.state()["queue"]) == 1
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        eventually(lambda: pool.state()["queue"] == [])


async def suspended(pool, user="alice"):
    """Wait until a user's kernel is suspended."""

    def it_is():
        state = pool.state()
        return any(one["user"] == user and one["state"] == "suspended" for one in [*state["leases"], *state["queue"]])

    await asyncio.to_thread(eventually, it_is)


async def test_an_idle_kernel_is_suspended_for_others_and_resumes_before_its_next_cell(lending_pool):
    async with kernel() as manager:
        assert (await run(manager, "x = 6 * 7; print(x)")) == "42"
        async with everything_taken(lending_pool) as bobs:
            await suspended(lending_pool)
            assert lending_pool.holders() == {0: "bob", 1: "bob"}
            client = client_of(manager)
            client.start_channels()
            await client.wait_for_ready(timeout=60)
            for request in (client.complete("x.", 2), client.inspect("x", 1)):
                reply = await client.get_shell_msg(timeout=60)
                while reply["parent_header"]["msg_id"] != request:
                    reply = await client.get_shell_msg(timeout=60)
                assert not reply["content"].get("matches")
                assert not reply["content"].get("found")
            look = client.session.msg("debug_request", {"command": "evaluate", "seq": 1, "arguments": {}})
            client.control_channel.send(look)
            reply = (await client.get_control_msg(timeout=60))["content"]
            assert (reply["success"], reply["message"]) == (False, "This kernel's GPU is lent to others.")
            client.stop_channels()
            async with running_cell(manager, "print(x)") as cell:
                await cell.shows("its state is kept")
                assert "GPU 0, 1: bob" in cell.text
                await bobs.shutdown_kernel(now=True)
                assert await cell.result() == "42\n"
        assert (await run(manager, "print(x)")) == "42"


async def test_a_suspended_kernel_that_is_restarted_asks_anew(lending_pool):
    async with kernel() as manager:
        await run(manager, "x = 1")
        (before,) = lending_pool.state()["leases"]
        async with everything_taken(lending_pool) as bobs:
            await suspended(lending_pool)
            await manager.restart_kernel()
            (after,) = lending_pool.state()["queue"]
            assert (after["id"] == before["id"], after["state"]) == (False, "queued")
            assert [lease["user"] for lease in lending_pool.state()["leases"]] == ["bob"], "nothing is left suspended"
            await bobs.shutdown_kernel(now=True)
        assert (await run(manager)).startswith("'0'")


async def test_a_suspended_kernel_that_dies_leaves_nothing(lending_pool):
    async with kernel() as manager:
        await run(manager, "x = 1")
        async with everything_taken(lending_pool):
            await suspended(lending_pool)
            os.kill(manager.provisioner.pid, signal.SIGKILL)
            eventually(lambda: [lease["user"] for lease in lending_pool.state()["leases"]] == ["bob"])


async def test_a_kernel_that_an_admin_ended_says_so_when_it_is_back(pool):
    async with kernel() as manager:
        pool.clear()
        await manager.restart_kernel(now=True)
        async with running_cell(manager, "print(1)") as cell:
            shown = await cell.result()
        assert "This kernel was ended and started anew: released by root" in shown
        assert "run the cells above again" in shown
        assert await run(manager, "print(2)") == "2", "it is said once"


async def test_a_kernel_whose_gpu_was_lost_is_told_and_runs_on(pool_without_gpus):
    pool, lose_all = pool_without_gpus
    async with kernel() as manager:
        assert await run(manager, "work = 1") == ""
        lose_all()
        await asyncio.to_thread(eventually, lambda: pool.state()["leases"][0]["idle_since"])
        async with running_cell(manager, "print(work)") as cell:
            shown = await cell.result()
        assert "GPU 0 was lost: restart the kernel to get another." in shown
        assert shown.endswith("1\n"), "what is there can be saved"
        assert await run(manager, "print(2)") == "2", "it is said once"


@pytest.fixture
def pool_without_gpus(pool):
    """A pool, and a function that lets it lose its GPUs; they are back afterwards."""
    gpus = pool.simulate_gpus

    def start(simulate_gpus):
        pool.kill()
        pool.simulate_gpus = simulate_gpus
        pool.start()

    yield pool, lambda: start(0)
    start(gpus)


WIDGET = """
from comm import create_comm
seen = []
comm = create_comm("told")
comm.on_msg(lambda message: seen.append(message["content"]["data"]["n"]))
print(comm.comm_id)
"""


async def test_what_widgets_send_waits_too_and_does_not_hold_up_cells(lending_pool):
    async with kernel() as manager:
        comm = await run(manager, WIDGET)
        async with everything_taken(lending_pool) as bobs:
            await suspended(lending_pool)
            async with running_cell(manager, "print(seen)", comm=(comm, 1)) as cell:
                await cell.shows("its state is kept")
                await interrupted(cell, manager)
                await cell.shows_of_another("What you did with a widget just now had no effect.")
            async with running_cell(manager, "print(seen)", comm=(comm, 2, 3, 4)) as cell:
                await cell.shows("its state is kept")
                await bobs.shutdown_kernel(now=True)
                assert await cell.result() == "[2, 3, 4]\n", "what waited came first, but not what was interrupted"


async def test_an_interrupt_ends_the_wait_of_a_widget_though_no_cell_runs(lending_pool):
    async with kernel() as manager:
        comm = await run(manager, WIDGET)
        async with everything_taken(lending_pool):
            await suspended(lending_pool)
            async with talking(manager) as client:
                send(client, "comm_msg", comm_id=comm, data={"n": 1})
                await asyncio.to_thread(eventually, lambda: lending_pool.state()["queue"], what="a widget that waits")
                await manager.interrupt_kernel()
                await asyncio.to_thread(eventually, lambda: not lending_pool.state()["queue"], what="an empty queue")
                await Cell(client, "").shows_of_another("Use the widget again.")
        assert await run(manager, "print(seen)") == "[]"


PAGE = """
from ipywidgets import IntSlider
slider = IntSlider(7)
print(slider.comm.comm_id)
"""


async def test_a_page_that_is_loaded_anew_does_not_make_a_suspended_kernel_queue(lending_pool):
    async with kernel() as manager:
        widget = await run(manager, PAGE)
        async with everything_taken(lending_pool) as bobs:
            await suspended(lending_pool)
            async with talking(manager) as client:
                control = {"comm_id": uuid.uuid4().hex}
                opened = {**control, "target_name": "jupyter.widget.control", "data": {}}
                send(client, "comm_open", metadata={"version": "1.0.0"}, **opened)
                send(client, "comm_msg", **control, data={"method": "request_states"})
                send(client, "comm_msg", comm_id=widget, data={"method": "request_state"})
                client.kernel_info()
                await client.get_shell_msg(timeout=60)
                await asyncio.sleep(1)  # in which it would ask
                assert lending_pool.state()["queue"] == []
                await bobs.shutdown_kernel(now=True)
                cell = Cell(client, client.execute("print(slider.value)"))
                states = await cell.comm_messages(2)
                assert states[0]["method"] == "update_states"
                assert states[1]["state"]["value"] == 7


async def test_a_choice_takes_effect_at_once_until_cuda_is_in_use(pool, tmp_path):
    async with kernel() as manager:
        assert await run(manager, "%armillary gpu") == "This kernel has 1 GPU: GPU 0."
        assert await run(manager, "%armillary gpu 2\n" + GPU) == (
            f"This kernel has 2 GPUs: GPU 0, 1.\n'0,1' {manager.provisioner.pid}"
        )
        assert pool.holders() == {0: "alice", 1: "alice"}
        name, text = await run(manager, "%armillary gpu 3")
        assert (name, "this machine has 2" in text) == ("NoGpuError", True)
        name, text = await run(manager, "%armillary cpu")
        assert (name, "%armillary gpu 2" in text) == ("UsageError", True)
        assert await run(manager, "%armillary gpu 4GiB") == "This kernel has 4 GiB of a GPU: GPU 0."
        assert "fraction:0." in await run(manager, "import os; print(os.environ['PYTORCH_ALLOC_CONF'])")
        in_use = (
            "from armillary_kernels import gpu_environment\n"
            f"gpu_environment.DEVICE_FILES = {str(tmp_path / 'nvidia')!r}\n"
            f"device = open({str(tmp_path / 'nvidia0')!r}, 'w')"
        )
        await run(manager, in_use)
        assert "Restart it" in await run(manager, "%armillary gpu 2")
        assert [lease["memory"] for lease in pool.state()["leases"]] == [4096]
        await manager.restart_kernel()
        assert (await run(manager)).startswith("'0,1'")
        await run(manager, "%armillary gpu 0")
        assert pool.holders() == {}
        assert (await run(manager)).startswith("''")
        await manager.restart_kernel()
        assert (await run(manager)).startswith("''")
    assert not Note.path(manager.connection_file).exists()


async def test_a_choice_waits_visibly(pool):
    async with everything_taken(pool) as bobs, kernel("python-cpu") as manager:
        assert await run(manager, "1 + 1; print('no GPU needed')") == "no GPU needed"
        async with running_cell(manager, "%armillary gpu 1") as cell:
            await cell.shows("place 1 in the queue")
            await bobs.shutdown_kernel(now=True)
            assert "This kernel has 1 GPU: GPU 0." in await cell.result()


async def test_a_pool_that_dies_while_a_cell_waits_is_waited_for(pool):
    async with everything_taken(pool) as bobs, kernel() as manager, running_cell(manager) as cell:
        await cell.shows("place 1 in the queue")
        pool.kill()
        await cell.shows("does not answer")
        pool.start()
        await cell.shows("place 1 in the queue")
        await bobs.shutdown_kernel(now=True)
        assert (await cell.result()).startswith("'0'")


async def test_a_kernel_of_another_kind_gets_a_free_gpu_or_does_not_start(pool, monkeypatch):
    monkeypatch.setattr(
        "jupyter_client.provisioning.KernelProvisionerFactory.default_provisioner_name", "armillary-provisioner"
    )
    monkeypatch.setenv("ARMILLARY_KERNEL_GPUS", "2")
    async with kernel("python3") as manager:
        assert (await run(manager)).startswith("'0,1'")
        other = AsyncKernelManager(kernel_name="python3")
        with pytest.raises(NoGpuFreeError):
            await other.start_kernel()
        assert pool.state()["queue"] == []


async def test_an_interrupt_ends_the_cell_and_nothing_else(pool):
    async with kernel() as manager:
        name, _ = await run(
            manager,
            "import os, signal, threading, time\n"
            "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\ntime.sleep(60)",
        )
        assert name == "KeyboardInterrupt"
        async with running_cell(manager, BUSY) as cell:
            await cell.shows("mine")
            assert "time.sleep" in await interrupted(cell, manager)
        assert pool.holders() == {0: "alice"}


async def test_a_killed_kernel_gives_its_gpu_back(pool):
    async with kernel() as manager:
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        eventually(lambda: pool.holders() == {})
        assert not await manager.is_alive()


async def test_what_a_killed_kernel_has_started_ends_with_it(pool):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    )
    start = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid)"
    )
    async with kernel() as manager:
        child = Process.of(int(await run(manager, start)))
        os.kill(pool.process.pid, signal.SIGSTOP)  # else the pool might be the first to end what is left
        try:
            os.kill(manager.provisioner.pid, signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: Process.of(manager.provisioner.pid) is None)
            assert child.is_alive()
        finally:
            os.kill(pool.process.pid, signal.SIGCONT)
        assert not await manager.is_alive(), "what Jupyter asks every three seconds, and what ends the rest"
        await asyncio.to_thread(eventually, lambda: not child.is_alive(), what="the end of what it has started")


async def test_a_kernel_that_does_not_die_keeps_its_lease_until_it_does(pool):
    """As one does that hangs in a driver's call; here nobody tries to kill it."""
    async with kernel() as manager:
        held = Process.of(manager.provisioner.pid)
        await manager.provisioner.cleanup()
        assert pool.holders() == {0: "alice"}
        (lease,) = pool.state()["leases"]
        assert (lease["holder"]["pid"], lease["holder"]["in_use"]) == (held.pid, True)
        os.kill(held.pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: pool.holders() == {})


async def test_an_interrupt_while_a_word_is_completed_costs_nothing(pool):
    async with kernel() as manager:
        await run(manager, "x = 41")
        await idle(pool)
        async with talking(manager) as client:
            os.kill(pool.process.pid, signal.SIGSTOP)
            try:
                request = client.complete("x.", 2)
                await asyncio.sleep(0.2)  # it waits for the pool's answer
                await manager.interrupt_kernel()
                reply = await client.get_shell_msg(timeout=20)
                while reply["parent_header"]["msg_id"] != request:
                    reply = await client.get_shell_msg(timeout=20)
                assert reply["content"]["matches"] == []
            finally:
                os.kill(pool.process.pid, signal.SIGCONT)
        assert await run(manager, "print(x)") == "41"


async def test_what_a_job_asks_for_is_not_what_its_cells_ask_for(pool, monkeypatch):
    for name, value in {"GPUS": "2", "WAIT_SECONDS": "5", "PURPOSE": "job"}.items():
        monkeypatch.setenv(f"ARMILLARY_KERNEL_{name}", value)
    async with kernel() as manager:
        assert await run(manager, "import os; print([one for one in os.environ if 'ARMILLARY_KERNEL' in one])") == "[]"
        assert pool.holders() == {0: "alice", 1: "alice"}
        await manager.restart_kernel(now=True)
        assert pool.holders() == {0: "alice", 1: "alice"}


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (403, {"status": 403, "message": "Forbidden"}, "is not a GPU pool: it answers 403."),
        (503, {"error": {"what": "The disk is full.", "remedy": "Free some space."}}, "The disk is full."),
    ],
)
async def test_what_answers_in_the_pools_place_is_said_in_the_cell(pool, monkeypatch, status, answer, said):
    monkeypatch.setenv("ARMILLARY_KERNEL_WAIT_SECONDS", "0.5")
    with StrangePool(status, json.dumps(answer)) as strange:
        monkeypatch.setenv("ARMILLARY_POOL_URL", strange.url)
        async with kernel() as manager:
            name, text = await run(manager)
    assert name == "GpuPoolDownError"
    assert said in text


async def test_a_killed_kernel_that_is_restarted_asks_anew(pool):
    async with kernel() as manager:
        (before,) = pool.state()["leases"]
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        eventually(lambda: pool.holders() == {})
        await manager.restart_kernel(now=True)
        (after,) = pool.state()["leases"]
        assert after["id"] != before["id"]


async def test_a_killed_pool_leaves_kernels_and_leases_alone(pool):
    async with kernel() as manager:
        pool.kill()
        assert (await run(manager)).startswith("'0'")
        pool.start()
        assert pool.holders() == {0: "alice"}


def test_a_kernel_waits_for_a_pool_that_comes_back(pool):
    pool.kill()
    starting = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys; from jupyter_client.manager import start_new_kernel as start\n"
            f"manager, client = start(kernel_name={SPEC!r})\n"
            f"client.execute_interactive({GPU!r}); manager.shutdown_kernel(now=True)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    pool.start()
    assert "'0'" in starting.communicate(timeout=60)[0]  # after a notice, where the kernel is quicker than the pool
    assert pool.holders() == {}


async def test_an_ask_whose_answer_comes_too_late_is_the_kernels_all_the_same(pool, monkeypatch):
    monkeypatch.setattr("armillary_kernels.lease_client.TIMEOUT", 3.0)
    pool.as_user("dora")  # for whom no client was made yet
    with pool.late_answers():
        manager = AsyncKernelManager(kernel_name=SPEC)
        await manager.start_kernel()
    try:
        (asked,) = await asyncio.to_thread(eventually, lambda: pool.state()["leases"], what="a booked ask")
        assert asked["holder"]["pid"] == os.getpid()
        assert (await run(manager)).startswith("'0'")
        (lease,) = pool.state()["leases"]
        assert (lease["id"], lease["holder"]["pid"]) == (asked["id"], manager.provisioner.pid)
    finally:
        await manager.shutdown_kernel(now=True)
    # What it was not told in time, the pool sees after a minute.
    await asyncio.to_thread(eventually, lambda: pool.holders() == {}, within=120)


async def test_a_kernel_that_is_not_started_for_want_of_an_answer_leaves_no_lease(pool, monkeypatch):
    monkeypatch.setattr(
        "jupyter_client.provisioning.KernelProvisionerFactory.default_provisioner_name", "armillary-provisioner"
    )
    monkeypatch.setattr("armillary_kernels.lease_client.TIMEOUT", 3.0)
    monkeypatch.setenv("ARMILLARY_KERNEL_GPUS", "1")
    pool.as_user("emil")
    with pool.late_answers(), pytest.raises(PoolUnreachableError):
        await AsyncKernelManager(kernel_name="python3").start_kernel()

    def is_given_back():
        ends = [
            change["reason"] for change in pool.history() if change["user"] == "emil" and change["after"] == "released"
        ]
        return ends == ["given back"]

    await asyncio.to_thread(eventually, is_given_back, what="a lease that is given back, not ended after a while")
    assert pool.holders() == {}


async def test_a_pool_that_stays_away_is_said_in_the_cell(pool, monkeypatch):
    monkeypatch.setenv("ARMILLARY_POOL_URL", "http://127.0.0.1:9/services/gpu-pool")
    monkeypatch.setenv("ARMILLARY_KERNEL_WAIT_SECONDS", "0.5")
    async with kernel() as manager:
        name, text = await run(manager)
    assert name == "GpuPoolDownError"
    assert "tell the admin" in text


def test_a_killed_server_takes_its_kernels_and_their_gpus_come_back(pool):
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from jupyter_client.manager import start_new_kernel as start; import signal\n"
            f"manager, client = start(kernel_name={SPEC!r})\n"
            "print(manager.provisioner.pid, flush=True); signal.pause()",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = Process.of(int(server.stdout.readline()))
    assert pool.holders() == {0: "alice"}
    server.kill()
    server.wait()
    eventually(lambda: not child.is_alive() and pool.holders() == {})


async def test_more_gpus_than_exist_is_said_in_the_kernel(pool, monkeypatch):
    monkeypatch.setenv("ARMILLARY_KERNEL_GPUS", "3")
    async with kernel() as manager:
        name, text = await run(manager)
    assert name == "NoGpuError"
    assert "3 GPUs were asked for; this machine has 2." in text


async def test_other_kernelspecs_get_no_gpu(pool, monkeypatch):
    monkeypatch.setattr(
        "jupyter_client.provisioning.KernelProvisionerFactory.default_provisioner_name", "armillary-provisioner"
    )
    async with kernel("python3") as manager:
        assert (await run(manager)).startswith("''")
        assert pool.state()["leases"] == []


async def test_over_ipc(pool, tmp_path):
    async with kernel(transport="ipc", ip=str(tmp_path / "k")) as manager:
        assert (await run(manager)).startswith("'0'")


async def test_without_a_hub_a_kernel_starts_on_what_the_machine_has(pool, monkeypatch):
    monkeypatch.delenv("ARMILLARY_PUBLIC_URL")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    async with kernel() as manager:
        assert (await run(manager)).startswith("None")
        magic = "try:\n    %armillary gpu\nexcept Exception as error: print(error)"
        assert "There is no hub here that lends GPUs" in await run(manager, magic)


def test_papermill_runs_on_a_lease_and_fails_with_the_reason(pool, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(GPU)])
    notebook.metadata["kernelspec"] = {"name": SPEC, "display_name": "Python (PyTorch)", "language": "python"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)
    assert done.cells[0].outputs[0].text.startswith("'0'")
    assert pool.holders() == {}
    os.environ["ARMILLARY_KERNEL_GPUS"] = "3"
    try:
        with pytest.raises(papermill.PapermillExecutionError, match="this machine has 2"):
            papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)
    finally:
        del os.environ["ARMILLARY_KERNEL_GPUS"]


@pytest.fixture
def job(tmp_path):
    """A notebook on our PyTorch kernel, which asks for a GPU."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(GPU)])
    notebook.metadata["kernelspec"] = {"name": SPEC, "display_name": "Python (PyTorch)", "language": "python"}
    nbformat.write(notebook, tmp_path / "job.ipynb")
    return tmp_path / "job.ipynb"


def armillary_run(job, *options):
    command = [sys.executable, "-c", "from armillary.jobs.command import run; run()", job, "-o", "out.ipynb", *options]
    return subprocess.run(command, cwd=job.parent, capture_output=True, text=True, check=False, timeout=120)


async def test_a_job_beside_a_notebook_that_holds_the_only_gpus(pool, job):
    """It says that it waits and for whom, and ends with a code of its own; without a GPU it runs."""
    mine = {"env": os.environ | {"JPY_SESSION_NAME": "guides/jobs.ipynb"}}
    manager = AsyncKernelManager(kernel_name=SPEC)
    await manager.start_kernel(**mine)
    try:
        async with kernel():
            refused = armillary_run(job, "--wait", "1")
            assert refused.returncode == 3
            assert "Waiting 1 s at most for a GPU, place 1 in the queue." in refused.stderr
            assert "GPU 0: you, since" in refused.stderr
            assert "jobs.ipynb" in refused.stderr
            assert "NoGpuFreeError: No GPU became free within 1 s." in refused.stdout
            assert "`armillary run --gpus 0`" in refused.stdout
            done = armillary_run(job, "--gpus", "0")
            assert done.returncode == 0, done.stderr
            assert "''" in nbformat.read(job.parent / "out.ipynb", 4).cells[0].outputs[0].text
            assert pool.holders() == {0: "alice", 1: "alice"}
    finally:
        await manager.shutdown_kernel(now=True)


async def test_the_kernel_without_a_gpu_holds_none(pool):
    async with kernel("python-cpu") as manager:
        assert (await run(manager)).startswith("''")
        assert pool.state()["leases"] == []


def test_the_lease_of_a_job_has_the_jobs_name(pool, job, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "guides/jobs.ipynb")
    document = nbformat.read(job, 4)
    document.cells[0].source = (
        "import httpx, os\n"
        "headers = {'Authorization': 'Bearer alice'}\n"
        "books = httpx.get(os.environ['ARMILLARY_POOL_URL'] + '/', headers=headers, trust_env=False).json()\n"
        "print(books['leases'][0]['label'])"
    )
    nbformat.write(document, job)
    assert armillary_run(job).returncode == 0
    assert nbformat.read(job.parent / "out.ipynb", 4).cells[0].outputs[0].text.strip() == "job.ipynb"
