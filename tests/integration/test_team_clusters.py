"""Dask clusters in team mode: each runs as its owner's Unix account, and keeps others out."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
from armillary import cluster
from armillary_hub.accounts.unix_accounts import MOST_PROCESSES
from support.deployment import Deployment
from support.hub_client import become

pytestmark = pytest.mark.team

# Workers cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def running(team_deployment: Deployment):
    """A cluster of ``clteam-a``; there is another person ``clteam-b``."""
    team_deployment.add_user("clteam-b")
    with pytest.MonkeyPatch.context() as monkeypatch:
        become(monkeypatch, team_deployment, "clteam-a")
        mine = cluster(workers=1)
        yield mine
        mine.close()


def read_as(user: str, *command: str) -> subprocess.CompletedProcess[str]:
    account = pwd.getpwnam(user)
    return subprocess.run(
        command, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True
    )


def folder_of(deployment: Deployment, mine) -> Path:
    return deployment.settings.run_dir / ".clusters" / mine.name[:12]


def test_processes_run_as_the_owner(running):
    account = pwd.getpwnam("clteam-a")
    client = running.client()
    where = lambda: (os.getuid(), os.getgid(), os.getgroups(), os.environ["HOME"], os.umask(0o077))  # noqa: E731
    for found in (client.submit(where).result(), client.run_on_scheduler(where)):
        uid, gid, groups, home, umask = found
        assert (uid, gid, home) == (account.pw_uid, account.pw_gid, account.pw_dir)
        assert 0 not in groups
        assert umask == 0o077


def test_processes_have_the_limits_of_a_server(running):
    limits = lambda: [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_CORE)]  # noqa: E731
    client = running.client()
    assert client.submit(limits).result() == client.run_on_scheduler(limits) == [MOST_PROCESSES, 0]


def test_the_folder_keeps_others_out(team_deployment, running):
    folder = folder_of(team_deployment, running)
    for path in ("work", "dask.pem", "dask.crt", "logs"):
        command = ("ls", str(folder / path)) if path in ("work", "logs") else ("cat", str(folder / path))
        assert read_as("clteam-b", *command).returncode != 0, path
    assert read_as("clteam-a", "cat", str(folder / "dask.pem")).returncode == 0


def test_the_owner_cannot_put_anything_where_root_writes(team_deployment, running):
    folder = folder_of(team_deployment, running)
    for place in (folder, folder / "logs", folder.parent):
        assert read_as("clteam-a", "touch", str(place / "x")).returncode != 0


def test_nobody_connects_to_the_dashboard_past_the_front(team_deployment, running):
    socket = str(folder_of(team_deployment, running) / "dashboard.sock")
    knock = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    for user in ("clteam-a", "clteam-b"):
        assert "PermissionError" in read_as(user, "/usr/bin/python3", "-c", knock, socket).stderr


def test_the_environment_cannot_be_read_by_others(running):
    pid = running.client().submit(os.getpid).result()
    assert read_as("clteam-b", "cat", f"/proc/{pid}/environ").returncode != 0
