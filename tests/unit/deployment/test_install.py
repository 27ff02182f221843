"""Where the installer makes the environment, and with which interpreter."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from types import ModuleType

import pytest

INSTALL = Path(__file__).parents[3] / "hub_config" / "install.py"


@pytest.fixture
def installer() -> ModuleType:
    """The installer, which is a script and no module of the distribution."""
    spec = importlib.util.spec_from_file_location("install", INSTALL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_ordinary_user_gets_an_editable_install_in_the_checkout(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "is_root", lambda: False)
    assert installer.environment_place() == installer.VENV
    assert installer.editable() == ["--editable"]


@pytest.mark.parametrize(("reachable", "place"), [(True, ".venv"), (False, "/opt/armillary/")])
def test_root_installs_where_every_account_can_go(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, reachable: bool, place: str
) -> None:
    monkeypatch.setattr(installer, "is_root", lambda: True)
    monkeypatch.setattr(installer, "all_may_enter", lambda folder: reachable)
    assert place in str(installer.environment_place())
    assert installer.editable() == []


def test_root_takes_no_interpreter_that_others_cannot_run(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "is_root", lambda: True)
    monkeypatch.setattr(installer, "all_may_run", lambda python: False)
    with pytest.raises(installer.InstallError, match="every account can run"):
        installer.find_python()


def test_a_closed_folder_on_the_way_is_noticed(installer: ModuleType, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    tmp_path.chmod(0o700)
    assert not installer.all_may_enter(inner)
    assert installer.all_may_enter(Path("/usr/bin"))


def test_missing_packages_are_named_with_the_command(installer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "is_root", lambda: False)
    with pytest.raises(installer.InstallError, match="sudo apt-get install -y chromium"):
        installer.install_packages(["chromium"])


def test_what_the_tests_need_includes_the_rest(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(installer, "run", ran.append)
    for extra, times in (("all", 1), ("all", 1), ("test", 2), ("all", 2)):
        installer.install_dependencies(Path("uv"), tmp_path, extra)
        assert len(ran) == times


@pytest.mark.parametrize("module", ["jupyterhub.app", "ipykernel.kernelapp", "mlflow.store", "torch.nn"])
def test_what_is_installed_is_compiled(module: str) -> None:
    """Else each start of a program compiles it, for people's accounts cannot write bytecode there."""
    spec = find_spec(module)
    assert spec is not None
    assert Path(cache_from_source(str(spec.origin))).exists()


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", INSTALL, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
