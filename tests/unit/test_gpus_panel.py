"""`armillary.gpus()`: the hub's GPUs in a notebook and in a script, against a real pool."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import armillary
import httpx
import pandas as pd
import pytest
from armillary.gpu_pool.panel import GpuPanel
from armillary_kernels import gate_passes
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.leases import LeaseLostError
from armillary_kernels.processes import Process
from support.gpu_pool import PoolProcess
from support.strange_pool import StrangePool


@pytest.fixture(scope="module")
def running_pool(tmp_path_factory):
    pool = PoolProcess(tmp_path_factory.mktemp("pool"))
    pool.start()
    yield pool
    pool.kill()


@pytest.fixture
def sleeper():
    """Start processes that live until they are ended."""
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]))
        return Process.of(started[-1].pid)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def pool(running_pool, monkeypatch):
    for name, value in running_pool.environment("alice").items():
        monkeypatch.setenv(name, value)
    yield running_pool
    running_pool.clear()


def lease(pool, user, holder, label="digits.ipynb"):
    with LeaseClient(pool.connection(user)) as client:
        answer = client.ask("kernel", 1, label, Process.own())
        if "position" not in vars(answer):
            client.bind(answer.id, holder)
        return answer.id


def test_a_script_gets_data_and_text(pool, sleeper):
    lease(pool, "alice", sleeper())
    lease(pool, "bob", sleeper(), "secret.ipynb")
    waiting = lease(pool, "alice", Process.own(), "second.ipynb")
    gpus = armillary.gpus()
    assert [(gpu.index, gpu.name, gpu.memory, gpu.state) for gpu in gpus.devices] == [
        (index, "Simulated GPU", 16 * 2**30, "working") for index in (0, 1)
    ]
    assert [(one.user, one.mine, one.devices, one.label) for one in gpus.leases] == [
        ("alice", True, (0,), "digits.ipynb"),
        ("bob", False, (1,), ""),
    ]
    assert [(one.id, one.place, one.waits_for, one.estimate) for one in gpus.queue] == [(waiting, 1, "turn", None)]
    assert [one.id for one in gpus.mine] == [gpus.leases[0].id, waiting]
    assert list(pd.DataFrame(gpus.leases)["user"]) == ["alice", "bob"]
    lines = repr(gpus).splitlines()
    held = r"alice \(you\), Kernel · digits.ipynb, 1 GPU, in use, for less"
    assert re.match(rf"GPU 0 \(Simulated GPU\).*: {held}", lines[0])
    assert lines[-1] == (
        "1. alice (you): Kernel · second.ipynb, 1 GPU, waits for its turn; estimate: nobody can say yet"
    )
    with LeaseClient(pool.connection("alice")) as client:
        client.give_back(waiting)
    assert gpus.refresh().queue == ()


def test_the_panel_shows_ones_own_first_and_says_a_new_place(pool, sleeper):
    mine = lease(pool, "alice", sleeper(), "<mine>.ipynb")
    lease(pool, "bob", sleeper())
    panel = GpuPanel(armillary.gpus())
    assert panel.html.index("&lt;mine&gt;.ipynb") < panel.html.index("GPUs and who holds them")
    assert f'data-action="end" data-lease="{mine}"' in panel.html
    assert 'data-action="suspend"' not in panel.html, "it is busy"
    assert panel.spoken == ""
    news = panel.news
    lease(pool, "alice", Process.own(), "second.ipynb")
    panel._message(panel, {"action": "refresh"}, [])
    assert panel.spoken == "You wait for 1 GPU: place 1 of 1 in the queue."
    assert panel.news == news + 1
    assert panel._repr_mimebundle_()
    assert "GPU 0 (Simulated GPU)" in armillary.gpus()._repr_mimebundle_()[0]["text/plain"]


def test_its_buttons_suspend_end_and_leave_the_queue(pool, sleeper):
    holder, other = sleeper(), sleeper()
    mine, bobs = lease(pool, "alice", holder), lease(pool, "bob", other)
    waiting = lease(pool, "alice", Process.own())
    with LeaseClient(pool.connection("alice")) as client:
        client.note_activity(mine, busy=False)
        panel = GpuPanel(armillary.gpus())
        assert f'data-action="suspend" data-lease="{mine}"' in panel.html
        panel._message(panel, {"action": "end", "lease": bobs}, [])
        assert other.is_alive(), "not one's own"
        panel._message(panel, {"action": "leave", "lease": waiting}, [])
        with pytest.raises(LeaseLostError):
            client.look(waiting)
        panel._message(panel, {"action": "leave", "lease": mine}, [])
        assert "it has its GPUs, or has ended" in panel.html, "granted while the question was on the screen"
        assert client.look(mine).devices
        panel._message(panel, {"action": "end", "lease": mine}, [])
        assert not holder.is_alive()
        assert "You hold no GPU and wait for none." in panel.html


def test_a_pool_that_is_gone_is_said_in_the_panel(pool, monkeypatch):
    panel = GpuPanel(armillary.gpus())
    elsewhere = replace(panel._gpus._connection, pool_url="http://127.0.0.1:9")
    monkeypatch.setattr(panel, "_gpus", replace(panel._gpus, _connection=elsewhere))
    panel.refresh()
    assert re.search(r'role="alert">The GPU pool at http://127.0.0.1:9 does not answer', panel.html)


@pytest.mark.parametrize("answer", ["<html>", "{}", "[]", '{"devices": [{}], "leases": [], "queue": []}'])
def test_an_answer_that_is_no_pools_is_said_in_the_panel(pool, monkeypatch, answer):
    panel = GpuPanel(armillary.gpus())
    with StrangePool(200, answer) as strange:
        elsewhere = replace(panel._gpus._connection, pool_url=strange.url)
        monkeypatch.setattr(panel, "_gpus", replace(panel._gpus, _connection=elsewhere))
        panel.refresh()
    assert "is not a GPU pool: it answers 200. Check ARMILLARY_POOL_URL." in panel.html


@pytest.mark.parametrize("variable", ["ARMILLARY_POOL_URL", "JUPYTERHUB_USER"])
def test_a_variable_that_is_missing_is_named(pool, monkeypatch, variable):
    monkeypatch.delenv(variable)
    with pytest.raises(
        armillary.errors.ArmillaryError, match=rf"the environment lacks {variable}\. Open a new terminal"
    ):
        armillary.gpus()


@pytest.mark.parametrize("token", ["", "ü", "a\nb"])
def test_a_token_that_is_none_is_named(pool, monkeypatch, token):
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", token)
    with pytest.raises(armillary.errors.ArmillaryError, match="JUPYTERHUB_API_TOKEN holds no token of the hub"):
        armillary.gpus()


def test_a_name_that_is_no_text_gets_its_gpu_and_one_that_steers_a_terminal_is_refused(pool, sleeper, monkeypatch):
    lease(pool, "alice", sleeper(), os.fsdecode(b"\xff.ipynb"))
    asked = {"purpose": "kernel", "label": "a\x1b[2Jb", "holder": vars(sleeper())}
    answer = httpx.post(f"{pool.url}/leases", headers=pool.connection("bob").headers, json=asked, trust_env=False)
    assert answer.status_code == 422
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "admin:root")
    assert [one.label for one in armillary.gpus().leases] == ["\N{REPLACEMENT CHARACTER}.ipynb"]


def test_its_messages_pass_a_kernels_gate_until_it_is_closed(pool):
    panel = GpuPanel(armillary.gpus())
    comm = panel.comm.comm_id
    assert gate_passes.passes(comm)
    panel.close()
    assert not gate_passes.passes(comm)


@pytest.fixture
def own_lease(pool):
    """A lease that this very process uses; nobody may end it by ending the process."""
    own = lease(pool, "alice", Process.own())
    yield own
    with LeaseClient(pool.connection("alice")) as client:
        client.give_back(own)


def test_this_kernels_own_lease_is_marked_and_has_no_button(own_lease):
    panel = GpuPanel(armillary.gpus())
    assert "this notebook" in panel.html
    assert own_lease not in panel.html


def test_in_chinese(own_lease, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    gpus = armillary.gpus()
    assert "使用中" in repr(gpus)
    assert "本笔记本" in GpuPanel(gpus).html


def test_outside_a_hub_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("ARMILLARY_PUBLIC_URL", raising=False)
    with pytest.raises(armillary.errors.GpuError, match=r"was not started by one\. Run nvidia-smi"):
        armillary.gpus()
