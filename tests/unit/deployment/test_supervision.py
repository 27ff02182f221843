"""The configuration that supervisord and Traefik read, and the processes that a deployment finds again."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from armillary_hub.settings import Settings
from armillary_hub.supervision.environment import DEPLOYMENT, PROGRAM, minimal_environment
from armillary_hub.supervision.processes import end, is_alive, processes_of, programs_of, sweep
from armillary_hub.supervision.programs import programs
from armillary_hub.supervision.supervisord import configuration_file, write_configuration
from armillary_hub.supervision.traefik import write_static_configuration


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A deployment in a folder whose name needs quoting."""
    home = tmp_path / "with spaces"
    settings = Settings(home)
    settings.make_folders()
    return settings


def test_supervisord_reads_back_each_programs_command(settings: Settings) -> None:
    write_configuration(settings)
    parser = configparser.RawConfigParser()
    parser.read(configuration_file(settings))
    for program in programs(settings):
        section = parser[f"program:{program.name}"]
        assert tuple(shlex.split(section["command"].replace("%%", "%"))) == program.command
        assert section["autorestart"] == "true"
    assert configuration_file(settings).stat().st_mode & 0o077 == 0


def test_supervisord_itself_accepts_the_configuration(settings: Settings) -> None:
    from supervisor.options import ServerOptions

    write_configuration(settings)
    options = ServerOptions()
    options.realize(["-c", str(configuration_file(settings))])
    names = [group.name for group in options.process_group_configs]
    assert sorted(names) == sorted(program.name for program in programs(settings))


def test_traefik_serves_the_public_port_where_it_is_told(tmp_path: Path) -> None:
    settings = Settings(tmp_path, host="::1", port=9000)
    settings.make_folders()
    write_static_configuration(settings)
    static = tomllib.loads((settings.proxy_dir / "traefik.toml").read_text())
    assert static["entryPoints"]["http"]["address"] == "[::1]:9000"
    assert static["entryPoints"]["auth_api"]["address"] == "127.0.0.1:9002"
    assert not static["global"]["sendAnonymousUsage"]


def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    environment = minimal_environment(Path("/env"))
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["TZ"] == "Asia/Shanghai"
    assert environment["PATH"].startswith("/env/bin:")


@pytest.fixture
def sleepers(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """A program of the deployment in ``tmp_path``, a person's process that ignores SIGTERM, and a stranger."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    marks = {
        "program": {DEPLOYMENT: str(tmp_path), PROGRAM: "hub"},
        "person": {DEPLOYMENT: str(tmp_path)},
        "stranger": {DEPLOYMENT: f"{tmp_path}-other"},
    }
    started = {
        name: subprocess.Popen([sys.executable, "-c", stubborn], env={**os.environ, **mark}, stdout=subprocess.PIPE)
        for name, mark in marks.items()
    }
    for process in started.values():
        assert process.stdout is not None
        process.stdout.readline()
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


def test_processes_are_found_by_their_deployment(sleepers: dict[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    pids = {name: process.pid for name, process in sleepers.items()}
    assert {process.pid for process in processes_of(tmp_path)} == {pids["program"], pids["person"]}
    assert {process.pid for process in programs_of(tmp_path)} == {pids["program"]}


def test_the_sweep_ends_the_stubborn_and_nobody_else(
    sleepers: dict[str, subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end, "__defaults__", (0.5,))
    assert sweep(tmp_path) == 2
    assert sleepers["program"].wait(10) == sleepers["person"].wait(10) == -signal.SIGKILL
    assert is_alive(psutil.Process(sleepers["stranger"].pid))
