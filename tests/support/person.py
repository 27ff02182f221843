"""Acting as a person of a deployment from a shell: with the account and environment of that person's own server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support.deployment import Deployment


@dataclass(frozen=True)
class Person:
    """A person whose server runs.

    ``environment`` is what the spawner gave the server, so a command started with it is where the person's
    terminal would be.
    """

    name: str
    server: psutil.Process
    environment: Mapping[str, str] = field(repr=False)

    @property
    def home(self) -> Path:
        return Path(self.environment["HOME"])

    def _groups(self) -> list[int]:
        """Return the supplementary groups of the server's process."""
        lines = Path(f"/proc/{self.server.pid}/status").read_text().splitlines()
        return [int(gid) for line in lines if line.startswith("Groups:") for gid in line.split()[1:]]

    def shell(self, command: str, *, timeout: float = 300, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a shell command as the person, in the home folder."""
        uid = self.server.uids().real
        groups = {"group": self.server.gids().real, "extra_groups": self._groups()}
        account = {} if uid == os.geteuid() else {"user": uid, **groups}
        return subprocess.run(
            ["bash", "-c", command],
            env=dict(self.environment),
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **account,
        )


def sign_in(deployment: Deployment, name: str) -> Person:
    """Add a person if there is none of that name, start the server, and return them."""
    deployment.start_server(name)
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        is_server = "jupyterhub.singleuser" in " ".join(process.info["cmdline"] or [])
        if is_server and environment.get("JUPYTERHUB_USER") == name and _belongs(environment, deployment):
            return Person(name, process, environment)
    raise AssertionError(f"{name}'s server is not to be found among the processes")


def _belongs(environment: Mapping[str, str], deployment: Deployment) -> bool:
    return environment.get("ARMILLARY_DEPLOYMENT") == str(deployment.home)
