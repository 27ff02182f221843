"""Real Unix accounts, made and removed."""

import grp
import os
import pwd
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from armillary_hub.accounts import unix_accounts
from armillary_hub.accounts.errors import AccountError
from armillary_hub.settings import Settings

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make Unix accounts")
pytestmark = pytest.mark.team


def exists(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def mode_of(path):
    return path.stat().st_mode & 0o7777


@pytest.fixture
def home():
    folder = Path(f"/tmp/acc-{uuid.uuid4().hex[:8]}")
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def settings(home):
    settings = Settings(home=home, mode="team")
    settings.make_folders()
    return settings


@pytest.fixture
def name():
    chosen = f"t{uuid.uuid4().hex[:10]}"
    yield chosen
    if exists(chosen):
        unix_accounts.end_processes(pwd.getpwnam(chosen).pw_uid)
        subprocess.run(["userdel", chosen], check=True)


@needs_root
def test_an_account_has_its_own_home_and_no_password(settings, name):
    unix_accounts.add_account(settings, name)
    account = unix_accounts.account_of(settings, name)
    home = settings.users_dir / name
    assert account.pw_dir == str(home)
    assert account.pw_shell == "/bin/bash"
    assert grp.getgrgid(account.pw_gid).gr_name == "armillary"
    assert mode_of(home) == 0o700
    assert home.stat().st_uid == account.pw_uid
    assert {path.stat().st_uid for path in home.rglob("*")} <= {account.pw_uid}
    shadow = next(line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith(f"{name}:"))
    assert shadow.split(":")[1] in {"!", "*", "!!"}


@needs_root
def test_adding_twice_keeps_everything(settings, name):
    unix_accounts.add_account(settings, name)
    (settings.users_dir / name / "work.txt").write_text("mine")
    uid = pwd.getpwnam(name).pw_uid
    unix_accounts.add_account(settings, name)
    assert pwd.getpwnam(name).pw_uid == uid
    assert (settings.users_dir / name / "work.txt").read_text() == "mine"


@needs_root
def test_a_robot_account_has_no_shell(settings):
    name = f"app-{uuid.uuid4().hex[:8]}"
    unix_accounts.add_account(settings, name)
    assert pwd.getpwnam(name).pw_shell == "/usr/sbin/nologin"
    unix_accounts.remove_account(settings, name)
    assert not exists(name)


@needs_root
def test_accounts_that_armillary_did_not_make_are_left_alone(settings):
    with pytest.raises(AccountError) as refused:
        unix_accounts.add_account(settings, "daemon")
    assert str(refused.value) == (
        "'daemon' is an account of this machine that Armillary did not make. Choose another user name."
    )
    with pytest.raises(AccountError):
        unix_accounts.require_available(settings, "root")
    with pytest.raises(AccountError):
        unix_accounts.account_of(settings, "root")
    with pytest.raises(AccountError):
        unix_accounts.remove_account(settings, "daemon")
    assert exists("daemon")
    assert not (settings.users_dir / "daemon").exists()


@needs_root
def test_two_deployments_do_not_share_an_account(settings, name, home):
    unix_accounts.add_account(settings, name)
    other = Settings(home=home / "other", mode="team")
    other.make_folders()
    for act in (unix_accounts.add_account, unix_accounts.remove_account, unix_accounts.require_available):
        with pytest.raises(AccountError, match="belongs to another deployment on this machine"):
            act(other, name)
    assert not (other.users_dir / name).exists()
    assert exists(name)


@needs_root
def test_removal_ends_processes_and_puts_the_home_aside(settings, name, monkeypatch):
    monkeypatch.setattr(unix_accounts, "END_PATIENCE", 1.0)
    unix_accounts.add_account(settings, name)
    account = pwd.getpwnam(name)
    (settings.users_dir / name / "work.txt").write_text("mine")
    (settings.run_dir / name).mkdir()
    command = ["bash", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"]
    stubborn = subprocess.Popen(command, user=account.pw_uid, group=account.pw_gid, stdout=subprocess.PIPE, cwd="/")
    assert stubborn.stdout.readline() == b"ready\n"
    aside = unix_accounts.remove_account(settings, name)
    assert stubborn.wait(10) == -signal.SIGKILL
    stubborn.stdout.close()
    assert not exists(name)
    assert not (settings.users_dir / name).exists()
    assert not (settings.run_dir / name).exists()
    assert aside.parent == settings.home / "removed"
    assert (aside / "work.txt").read_text() == "mine"
    assert mode_of(aside.parent) == mode_of(aside) == 0o700
    assert aside.stat().st_uid == aside.parent.stat().st_uid == 0


@needs_root
def test_a_namesake_gets_none_of_the_removed_persons_files(settings, name):
    unix_accounts.add_account(settings, name)
    (settings.users_dir / name / "work.txt").write_text("mine")
    unix_accounts.remove_account(settings, name)
    unix_accounts.add_account(settings, name)
    assert not (settings.users_dir / name / "work.txt").exists()


@needs_root
def test_a_home_from_a_backup_gets_its_account_back(settings, name):
    unix_accounts.add_account(settings, name)
    uid = pwd.getpwnam(name).pw_uid
    subprocess.run(["userdel", name], check=True)
    unix_accounts.add_account(settings, name)
    assert pwd.getpwnam(name).pw_uid == uid


@needs_root
def test_a_home_that_belongs_to_somebody_else_is_refused(settings, name):
    (settings.users_dir / name).mkdir()
    os.chown(settings.users_dir / name, pwd.getpwnam("daemon").pw_uid, -1)
    with pytest.raises(AccountError, match="is there already and belongs to the account 'daemon'"):
        unix_accounts.add_account(settings, name)
    assert not exists(name)


@needs_root
def test_what_useradd_says_is_told(settings, name, monkeypatch, tmp_path):
    failing = tmp_path / "useradd"
    failing.write_text("#!/bin/sh\necho 'useradd: no space left' >&2\nexit 12\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(AccountError, match="useradd: no space left"):
        unix_accounts.add_account(settings, name)
    assert not (settings.users_dir / name).exists()


def test_without_permission_the_error_says_so(settings, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AccountError) as refused:
        unix_accounts.add_account(settings, f"t{uuid.uuid4().hex[:10]}")
    assert str(refused.value) == (
        "This hub cannot make or remove Unix accounts: it does not run as root."
        " Start it as root (`sudo armillary up`), or in solo mode."
    )


def test_in_solo_mode_a_person_has_a_folder_and_no_account(home, name):
    settings = Settings(home=home, mode="solo")
    settings.make_folders()
    unix_accounts.add_account(settings, name)
    (settings.users_dir / name / "work.txt").write_text("mine")
    assert mode_of(settings.users_dir / name) == 0o700
    assert not exists(name)
    first = unix_accounts.remove_account(settings, name)
    assert (first / "work.txt").read_text() == "mine"
    assert unix_accounts.remove_account(settings, name) is None
