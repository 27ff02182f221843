"""Team mode: one person's account reaches nothing of another's, of an app's, or of the deployment's own."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import httpx
import psutil
import pytest
from support.deployment import Deployment, wait_for
from support.person import Person, sign_in

pytestmark = pytest.mark.team

_TRY_ALL = """
import os, socket, sys
from pathlib import Path

def attempt(path):
    path = Path(path)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
        elif path.is_dir():
            os.listdir(path)
        else:
            path.read_bytes()
    except PermissionError:
        return
    print(path)

for line in sys.stdin:
    attempt(line.strip())
"""


@pytest.fixture(scope="module")
def olga(team_deployment: Deployment) -> Person:
    """A person with a running kernel and a secret file, who belongs to a group."""
    team_deployment.add_user("olga")
    team_deployment.request("POST", "/groups/painters").raise_for_status()
    team_deployment.request("POST", "/groups/painters/users", json={"users": ["olga"]}).raise_for_status()
    person = sign_in(team_deployment, "olga")
    assert (
        person.shell(
            "umask 022; mkdir -p private; echo secret > private/notes.txt; chmod 644 private/notes.txt"
        ).returncode
        == 0
    )
    headers = {"Authorization": f"Bearer {team_deployment.token('olga')}"}
    server = f"{team_deployment.url}/user/olga"
    kernel = httpx.post(f"{server}/api/kernels", json={"name": "python-torch"}, headers=headers, timeout=60)
    kernel.raise_for_status()
    wait_for(lambda: _sockets(person), 30, "the kernel's sockets are there")
    return person


@pytest.fixture(scope="module")
def otto(team_deployment: Deployment) -> Person:
    """Somebody else on the same machine."""
    return sign_in(team_deployment, "otto")


def _sockets(person: Person) -> list[Path]:
    return [path for path in Path(person.environment["JUPYTER_RUNTIME_DIR"]).rglob("*") if path.is_socket()]


def _reached(person: Person, paths: list[Path]) -> list[str]:
    """Return which of the paths a person's own processes can open."""
    script = person.home / "attempt.py"
    script.write_text(_TRY_ALL)
    os.chown(script, person.server.uids().real, person.server.gids().real)
    listing = "\n".join(map(str, paths))
    result = person.shell(f"python attempt.py <<'END'\n{listing}\nEND")
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_files_sockets_and_environments_are_closed(team_deployment: Deployment, olga: Person, otto: Person) -> None:
    processes = [olga.server, *olga.server.children(recursive=True)]
    assert len(processes) > 1, "the server and its kernel"
    settings = team_deployment.settings
    closed = [
        olga.home,
        olga.home / "private" / "notes.txt",
        Path(olga.environment["JUPYTER_RUNTIME_DIR"]),
        *_sockets(olga),
        *(Path(f"/proc/{process.pid}/environ") for process in processes),
        *(settings.state_dir, settings.secrets_dir, settings.logs_dir, settings.config_dir),
        settings.state_dir / "hub.sqlite",
        settings.secrets_dir / "operator",
        settings.run_dir / "supervisor.sock",
    ]
    assert all(path.exists() for path in closed)
    assert _reached(olga, [olga.home / "private" / "notes.txt"]), "the attempt itself works for the owner"
    assert _reached(otto, closed) == []


def test_kernels_speak_over_sockets_in_a_closed_folder(olga: Person) -> None:
    # ipykernel's one TCP listener takes output from forked children, and only with a secret of the process.
    folder = Path(olga.environment["JUPYTER_RUNTIME_DIR"])
    connections = [json.loads(path.read_text()) for path in folder.glob("kernel-*.json")]
    assert connections
    assert {connection["transport"] for connection in connections} == {"ipc"}
    assert all(Path(connection["ip"]).parent == folder for connection in connections)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_processes_cannot_be_signalled_or_traced(olga: Person, otto: Person) -> None:
    result = otto.shell(f"kill -9 {olga.server.pid}; cat /proc/{olga.server.pid}/mem")
    assert result.returncode != 0
    assert "not permitted" in result.stderr.lower()
    assert olga.server.is_running()


def test_a_person_is_never_root(olga: Person) -> None:
    uids = olga.server.uids()
    assert 0 not in (uids.real, uids.effective, uids.saved)
    assert olga.shell("id -u; id -Gn").stdout.split()[0] == str(uids.real)


def test_nothing_of_the_deployment_leaks_into_the_environment(team_deployment: Deployment, olga: Person) -> None:
    secrets = {path.read_text().strip() for path in team_deployment.settings.secrets_dir.iterdir()}
    assert secrets
    assert not secrets & set(olga.environment.values())
    assert "ARMILLARY_HOME" not in olga.environment


def test_services_listen_on_loopback_only(team_deployment: Deployment) -> None:
    ports = {team_deployment.port + offset for offset in range(10)}
    open_ports = {
        connection.laddr
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in ports
    }
    assert open_ports
    assert {address.ip for address in open_ports} == {"127.0.0.1"}
    with socket.create_connection(("127.0.0.1", team_deployment.port), timeout=5):
        pass


# Shared datasets --------------------------------------------------------------------------------------------

_SHARE = """
from armillary import datasets
text = {"text": datasets.Value("string")}
for name, with_ in {"private": "nobody", "painted": "group:painters", "open": "everyone"}.items():
    made = datasets.import_examples([{"text": f"{name} {row}"} for row in range(20)], text, name)
    access = datasets.share(made, with_=with_)
    assert access.enforced, access
    print(made.folder, access)
"""


def _python(person: Person, code: str) -> str:
    """Return what a program prints that a person runs, with the umask of people's servers."""
    result = person.shell(f"umask 077; python - <<'END'\n{code}\nEND")
    assert result.returncode == 0, result.stderr
    return result.stdout


def _readable(person: Person) -> list[str]:
    code = "from armillary import datasets\nfor line in datasets.shared():"
    return _python(person, f"{code}\n    print(line.reference, len(datasets.open(line.reference).to_pandas()))").split(
        "\n"
    )


def test_shared_datasets_are_read_by_those_they_are_shared_with_and_changed_by_nobody(
    team_deployment: Deployment, olga: Person, otto: Person
) -> None:
    printed = _python(olga, _SHARE)
    assert "open@1 can be read by: everyone." in printed
    shared = team_deployment.settings.shared_dir
    (opened,) = shared.glob("*/olga/open/1")
    closed_name, pipe = opened.parent.parent / "closed", opened.parent.parent / "pipe" / "1"
    assert olga.shell(f"mkdir -m 700 {closed_name} && mkdir -p {pipe} && mkfifo {pipe}/manifest.json").returncode == 0
    assert _readable(otto) == ["olga/open@1 20", ""]
    assert "olga/painted@1 20" in _readable(olga)
    (painted,) = shared.glob("*/olga/painted/1")
    closed = [shared, painted, painted.parent.parent.parent, *painted.iterdir(), olga.home / "datasets" / "private"]
    assert _reached(otto, closed) == []
    assert _reached(otto, [opened]) == [str(opened)]
    shard = next(opened.glob("shard-*"))
    for attempt in (
        f"echo x > {shard}",
        f"chmod u+w {shard}",
        f"rm -f {opened}/manifest.json",
        f"mv {opened.parent} {opened.parent}-moved",
        f"mkdir {opened}/more",
        f"mkdir {opened.parent.parent}/forged",
        f"mkdir {opened.parent.parent.parent}/forged",
        f"mv {opened.parent.parent} {opened.parent.parent.parent}/forged",
    ):
        assert otto.shell(attempt).returncode != 0, attempt
    assert len(_python(otto, "from armillary import datasets; print(datasets.open('olga/open').to_pandas())")) > 100


def test_who_joins_a_group_reads_its_datasets_from_the_next_start(team_deployment: Deployment, olga: Person) -> None:
    late = sign_in(team_deployment, "oskar")
    assert "olga/painted@1 20" not in _readable(late)
    team_deployment.request("POST", "/groups/painters/users", json={"users": ["oskar"]}).raise_for_status()
    team_deployment.stop_server("oskar")
    assert "olga/painted@1 20" in _readable(sign_in(team_deployment, "oskar"))
