"""What `armillary doctor` finds, and what `armillary up` refuses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from armillary_hub import checks
from armillary_hub.cli.up import decide_settings
from armillary_hub.pool.tracing import obstacle
from armillary_hub.settings import LONGEST_HOME, Settings
from armillary_hub.supervision.environment import DEPLOYMENT, PROGRAM
from armillary_kernels.errors import ArmillaryError


def levels(findings: object) -> list[str]:
    return [finding.level for finding in findings]  # type: ignore[attr-defined]


def test_a_port_in_use_is_named_with_its_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = list(checks.check_ports(Settings(tmp_path, port=port - 3)))
    assert any(f"Port {port} (gateway-web)" in one.what and f"process {os.getpid()}" in one.what for one in found)


@pytest.mark.parametrize(("variables", "welcome"), [({PROGRAM: "proxy"}, True), ({}, False)])
def test_programs_may_hold_the_deployments_ports_and_people_may_not(
    tmp_path: Path, variables: dict[str, str], welcome: bool
) -> None:
    serve = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    environment = {**os.environ, DEPLOYMENT: str(tmp_path), **variables}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", serve], env=environment, text=True, **pipes) as holder:
        port = int(holder.stdout.readline())
        found = list(checks.check_ports(Settings(tmp_path, port=port - 3)))
        holder.communicate("\n")
    assert any(f"Port {port} (gateway-web)" in one.what for one in found) is not welcome


def test_a_long_home_is_refused(tmp_path: Path) -> None:
    assert levels(checks.check_home(Settings(Path("/" + "h" * LONGEST_HOME)))) == ["problem"]
    assert levels(checks.check_home(Settings(Path("/" + "h" * (LONGEST_HOME - 1))))) == ["good"]


def test_a_home_that_supervisord_would_misread_is_refused() -> None:
    assert levels(checks.check_home(Settings(Path("/srv/50%")))) == ["problem"]
    assert levels(checks.check_home(Settings(Path("/srv/our lab")))) == ["good"]


@pytest.mark.parametrize(
    ("least", "good", "level"), [(1 << 60, 1 << 61, "problem"), (0, 1 << 60, "warning"), (0, 1, "good")]
)
def test_free_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, good: int, level: str) -> None:
    monkeypatch.setattr(checks, "LEAST_DISK", least)
    monkeypatch.setattr(checks, "GOOD_DISK", good)
    assert levels(checks.check_disk(Settings(tmp_path / "not" / "there"))) == [level]


def test_open_state_is_a_warning(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    settings.make_folders()
    assert levels(checks.check_folders(settings)) == ["good"]
    settings.secrets_dir.chmod(0o755)
    found = list(checks.check_folders(settings))
    assert levels(found) == ["warning"]
    assert f"chmod 700 {settings.secrets_dir}" in found[0].remedy


def test_closed_folders_on_the_way_are_found(tmp_path: Path) -> None:
    inner = tmp_path / "open" / "closed" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, *inner.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "open" / "closed").chmod(0o700)
    assert tmp_path / "open" / "closed" in checks.closed_folders(inner)
    assert inner not in checks.closed_folders(inner)


def test_the_wrong_account_for_the_mode_is_a_problem(tmp_path: Path) -> None:
    wrong = "solo" if os.geteuid() == 0 else "team"
    assert levels(checks.check_account(Settings(tmp_path, mode=wrong))) == ["problem"]  # type: ignore[arg-type]


def test_all_problems_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LEAST_DISK", 1 << 60)
    monkeypatch.setattr(checks, "LONGEST_HOME", 1)
    mode = "team" if os.geteuid() == 0 else "solo"
    with pytest.raises(ArmillaryError) as refused:
        checks.require_startable(Settings(tmp_path, mode=mode))  # type: ignore[arg-type]
    assert "are free" in refused.value.what
    assert "bytes long" in refused.value.what


def test_the_last_starts_settings_stay_unless_others_are_given(tmp_path: Path) -> None:
    Settings(tmp_path, port=9000, simulate_gpus=3).save()
    assert decide_settings(tmp_path, port=None, simulate_gpus=None).port == 9000
    changed = decide_settings(tmp_path, port=9100, simulate_gpus=0)
    assert (changed.port, changed.simulate_gpus) == (9100, 0)
    with pytest.raises(ArmillaryError, match="solo mode"):
        decide_settings(tmp_path, mode="team")


@pytest.mark.parametrize(
    ("capabilities", "uid", "scope", "says"),
    [
        ("000001ffffffffff", 0, "1", ""),
        ("00000000a80425fb", 0, None, "--cap-add SYS_PTRACE"),  # root in a container as Docker makes it
        ("0000000000000000", 1000, "1", "ptrace_scope lets no program trace others"),
        ("0000000000000000", 1000, "0", ""),
        ("0000000000000000", 1000, None, ""),
    ],
)
def test_who_may_not_look_into_kernels_is_told_that_they_keep_their_gpus(
    tmp_path: Path, capabilities: str, uid: int, scope: str | None, says: str
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(f"Name:\tpython\nCapEff:\t{capabilities}\n")
    if scope is not None:
        (tmp_path / "sys" / "kernel" / "yama").mkdir(parents=True)
        (tmp_path / "sys" / "kernel" / "yama" / "ptrace_scope").write_text(f"{scope}\n")
    found = obstacle(tmp_path, uid)
    assert says in found
    assert bool(found) is bool(says)
