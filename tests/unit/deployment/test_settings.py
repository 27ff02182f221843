"""Where a deployment keeps things."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from armillary_hub import settings as settings_module
from armillary_hub.settings import LONGEST_HOME, LONGEST_SOCKET, NoDeployment, Settings, write_atomically
from armillary_kernels.errors import ArmillaryError


@pytest.mark.parametrize("home", ["/h", "/var/lib/armillary", "/" + "h" * (LONGEST_HOME - 1)])
@pytest.mark.parametrize("user", ["a", "abcdefghijk", "a" * 31])
def test_the_longest_kernel_socket_fits(home: str, user: str) -> None:
    folder = Settings(Path(home)).runtime_dir(user)
    assert len(f"{folder}/kernel-{'x' * 36}-ipc-12") <= LONGEST_SOCKET
    assert folder.parent == Path(home) / "run"


def test_shortened_runtime_folders_differ() -> None:
    settings = Settings(Path("/" + "h" * (LONGEST_HOME - 1)))
    names = [f"{'a' * 20}{n}" for n in range(50)]
    assert len({settings.runtime_dir(name) for name in names}) == 50


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    settings = Settings(tmp_path, port=9000, simulate_gpus=2, config="/etc/hub.py")
    settings.save()
    assert Settings.load(tmp_path) == settings
    assert settings.config_file == Path("/etc/hub.py")


def test_a_missing_deployment_and_a_damaged_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NoDeployment, match="armillary up"):
        Settings.load(tmp_path)
    for damaged in ("{", "[]", '{"of a later version": 1}'):
        (tmp_path / "settings.json").write_text(damaged)
        with pytest.raises(ArmillaryError, match="cannot be read"):
            Settings.load(tmp_path)


def test_secrets_are_made_once_and_only_for_the_account(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    settings.make_folders()
    first = settings.secret("hub")
    assert len(bytes.fromhex(first)) == 32
    assert settings.secret("hub") == first != settings.secret("pool")
    assert stat.S_IMODE((settings.secrets_dir / "hub").stat().st_mode) == 0o600


def test_two_programs_that_ask_at_once_get_one_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tmp_path)
    settings.make_folders()
    monkeypatch.setattr(settings_module, "write_atomically", _while_another_writes(settings.secrets_dir / "hub"))
    assert settings.secret("hub") == "the other's"
    assert [path.name for path in settings.secrets_dir.iterdir()] == ["hub"]


def _while_another_writes(secret: Path) -> Callable[..., None]:
    def write(path: Path, text: str) -> None:
        write_atomically(path, text)
        secret.write_text("the other's")

    return write


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("10.0.0.5", "http://10.0.0.5:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_the_address_is_one_that_answers(tmp_path: Path, host: str, url: str) -> None:
    assert Settings(tmp_path, host=host).public_url == url


def test_folders_are_closed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Settings(tmp_path, mode="team").make_folders()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {
        **dict.fromkeys(("config", "state", "secrets", "logs"), 0o700),
        **dict.fromkeys(("run", "users", "apps", "shared"), 0o711),
    }


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
