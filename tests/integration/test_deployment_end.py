"""How a deployment ends: killed, idle, or stopped in order. One deployment goes through it all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from armillary_hub.supervision.processes import is_alive
from support.deployment import Deployment, deploy, processes_left, wait_for
from support.remote_kernel import RemoteKernel

#: Servers idle for 40 s are stopped; they tell the hub of activity each second.
_CULLING = """
c.IdleCuller.timeout = 40
c.IdleCuller.cull_every = 2
c.JupyterHub.activity_resolution = 1
c.Spawner.environment = {"JUPYTERHUB_ACTIVITY_INTERVAL": "2"}
"""


@pytest.fixture(scope="module")
def mortal() -> Iterator[Deployment]:
    """A deployment of this module's own."""
    with deploy(simulate_gpus=1) as running:
        yield running


@pytest.fixture(scope="module")
def kernel(mortal: Deployment) -> RemoteKernel:
    """A kernel that remembers something."""
    kernel = RemoteKernel.start(mortal, "ann")
    kernel.run("remembered = 42")
    return kernel


def test_a_killed_supervisord_is_replaced(mortal: Deployment, kernel: RemoteKernel) -> None:
    hub = mortal.pid("hub")
    os.kill(int((mortal.settings.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
    mortal.wait_back("hub", hub)
    wait_for(lambda: "Everything answers again." in mortal.output, 150, "everything answers")
    assert kernel.run("print(remembered)") == "42\n"


def test_up_after_a_killed_up_takes_over(mortal: Deployment, kernel: RemoteKernel) -> None:
    mortal.process.kill()
    mortal.process.wait()
    mortal.up()
    assert "An earlier start was cut off" in mortal.output
    assert kernel.run("print(remembered)") == "42\n"
    assert mortal.request("GET", "/users/ann").json()["servers"][""]["ready"]


def test_an_idle_server_is_culled_and_a_silently_busy_one_is_not(mortal: Deployment) -> None:
    mortal.stop_server("ann")
    config = mortal.home.parent / "jupyterhub_config.py"
    config.write_text(config.read_text() + _CULLING)
    assert mortal.armillary("restart", timeout=240).returncode == 0
    busy = RemoteKernel.start(mortal, "busy")
    busy.begin("import time; time.sleep(600)")
    mortal.start_server("idle")
    wait_for(lambda: not mortal.request("GET", "/users/idle").json()["servers"], 150, "the idle server is stopped")
    wait_for(lambda: not _starting(mortal, "busy"))
    assert mortal.request("GET", "/users/busy").json()["servers"][""]["ready"]
    assert busy.state() == "busy"


def _starting(deployment: Deployment, user: str) -> bool:
    return bool(deployment.request("GET", f"/users/{user}").json()["servers"][""].get("pending"))


def test_down_leaves_no_process(mortal: Deployment) -> None:
    mortal.start_server("ann")
    stubborn = RemoteKernel.start(mortal, "ann")
    child = int(
        stubborn.run("import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)")
    )
    done = mortal.armillary("down")
    assert done.returncode == 0, done.stderr
    assert processes_left(mortal) == []
    assert not psutil.pid_exists(child) or not is_alive(psutil.Process(child))
    assert mortal.process.wait(10) == 0


def test_what_does_not_run_is_said(mortal: Deployment) -> None:
    for command in ("status", "restart"):
        answer = mortal.armillary(command)
        assert answer.returncode == 1
        assert "does not run" in answer.stderr
    assert mortal.armillary("down").returncode == 0
