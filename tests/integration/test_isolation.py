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
    """A person with a running kernel and a secret file."""
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
