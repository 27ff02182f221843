"""A deployment answers, says how it is, and gets over the death of each of its programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from armillary_hub.accounts.invitations import recovery_link
from armillary_hub.settings import PORT_OFFSETS
from support import patiently
from support.deployment import Deployment, is_root, ordinary_account, wait_for
from support.remote_kernel import RemoteKernel
from support.visitor import Visitor


@pytest.fixture(scope="module")
def kernel(deployment: Deployment) -> Iterator[RemoteKernel]:
    """A kernel that remembers something."""
    kernel = RemoteKernel.start(deployment, "keeper")
    kernel.run("remembered = 42")
    yield kernel
    deployment.stop_server("keeper")


def test_it_answers_through_the_proxy(deployment: Deployment) -> None:
    assert patiently.get(f"{deployment.url}/hub/api/").json()["version"].startswith("6.1")
    assert "Solo mode" in deployment.output
    assert "/hub/invitation/" in deployment.output


def test_every_port_but_the_public_one_is_loopback_only(deployment: Deployment) -> None:
    listening = [
        line.split()[1] for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()
    ]
    ports = {f"{deployment.settings.port_of(name):04X}" for name in PORT_OFFSETS}
    ours = [address.split(":") for address in listening if address.split(":")[-1] in ports]
    assert {port for _, port in ours} == ports
    assert {host for host, _ in ours} <= {"0100007F", "00000000000000000000000001000000"}


def test_kernels_talk_over_sockets_that_only_the_account_can_enter(
    deployment: Deployment, kernel: RemoteKernel
) -> None:
    folder = deployment.settings.runtime_dir("keeper")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.glob(f"kernel-{kernel.id}-ipc-*"))


def test_the_kernels_environment_holds_nothing_of_the_hubs(kernel: RemoteKernel) -> None:
    names = kernel.run("import os; print(*os.environ)").split()
    assert {"ARMILLARY_POOL_URL", "MLFLOW_TRACKING_TOKEN", "ARMILLARY_DEPLOYMENT"} <= set(names)
    assert not {"ARMILLARY_HOME", "ARMILLARY_PROGRAM", "SUPERVISOR_ENABLED"} & set(names)


def test_a_servers_token_does_nothing_but_what_a_notebook_needs(deployment: Deployment, kernel: RemoteKernel) -> None:
    token = kernel.run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'], end='')")
    assert deployment.request("GET", "/user", token).json()["name"] == "keeper"
    for method, path in (("GET", "/users"), ("DELETE", "/users/keeper/server"), ("POST", "/users/keeper/tokens")):
        assert deployment.request(method, path, token).status_code in (403, 404)


def test_status_and_doctor(deployment: Deployment, kernel: RemoteKernel) -> None:
    status = deployment.armillary("status")
    assert status.returncode == 0, status.stdout + status.stderr
    for expected in ("gateway-front", "keeper", "running"):
        assert expected in status.stdout
    doctor = deployment.armillary("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "2 pretend GPUs" in doctor.stdout


def test_up_twice_is_refused(deployment: Deployment) -> None:
    again = deployment.armillary("up")
    assert again.returncode == 1
    assert "runs already" in again.stderr


def test_a_port_in_use_is_named_with_its_process(deployment: Deployment, tmp_path: Path) -> None:
    home = deployment.home.parent / "other"
    home.mkdir()
    os.chown(home, deployment.account.pw_uid, deployment.account.pw_gid)
    refused = deployment.armillary("up", "--port", str(deployment.port), home=home)
    assert refused.returncode == 1
    assert f"Port {deployment.port} (public) is in use by process {deployment.pid('proxy')} (traefik" in refused.stderr
    assert not (home / "settings.json").exists()


def test_another_accounts_deployment_is_refused(deployment: Deployment) -> None:
    if not is_root():
        pytest.skip("needs root, for it makes another account")
    with ordinary_account() as other:
        for command in (["up"], ["down"], ["status"], ["restart"], ["invite", "keeper"]):
            refused = replace(deployment, account=other).armillary(*command)
            assert refused.returncode == 1
            assert "another account" in refused.stderr


def test_team_mode_needs_root(deployment: Deployment) -> None:
    home = deployment.home.parent / "team"
    refused = deployment.armillary("up", "--mode", "team", home=home)
    assert refused.returncode == 1
    assert "as root" in refused.stderr
    assert not home.exists()


def test_restart_keeps_servers_and_kernels(deployment: Deployment, kernel: RemoteKernel) -> None:
    hub = deployment.pid("hub")
    restarted = deployment.armillary("restart", timeout=240)
    assert restarted.returncode == 0, restarted.stderr
    assert deployment.pid("hub") != hub
    assert kernel.run("print(remembered)") == "42\n"
    wait_for(lambda: deployment.request("GET", "/users/keeper").json()["servers"][""]["ready"], 150, "adopted")


@pytest.mark.parametrize(
    "program", ["hub", "proxy", "gateway", "gateway-proxy", "gateway-front", "gpu-pool", "mlflow", "apps", "culler"]
)
def test_a_killed_program_comes_back_and_kernels_stay(
    deployment: Deployment, kernel: RemoteKernel, program: str
) -> None:
    deployment.wait_back(program, deployment.kill(program))
    wait_for(lambda: deployment.request("GET", "/users/keeper").json()["servers"][""]["ready"], 150, "adopted")
    wait_for(lambda: kernel.run("print(remembered)") == "42\n", what="the kernel is reached")


def test_a_server_speaks_the_persons_language_and_is_stopped_by_a_hub_that_adopted_it(deployment: Deployment) -> None:
    panel = "from armillary import datasets; print(datasets.panel().tabs['import'].save.description, end='')"
    deployment.add_user("adopted")
    # A file named like a module of Python's is a person's own business.
    (deployment.settings.users_dir / "adopted" / "random.py").write_text("raise SystemExit('imported')")
    with Visitor(deployment.url, "fr, zh-CN;q=0.9, en;q=0.8") as person:
        person.accept(recovery_link(deployment.settings, "adopted"))
        person.get("/hub/spawn")
    assert RemoteKernel.start(deployment, "adopted").run(panel) == "保存新版本"
    deployment.wait_back("hub", deployment.kill("hub"))
    deployment.stop_server("adopted")
    # Another hub starts it again, and no browser asks for it: the language is remembered.
    assert RemoteKernel.start(deployment, "adopted").run(panel) == "保存新版本"
    deployment.stop_server("adopted")
