"""Unix accounts in team mode: one for each hub user, made and removed with it.

Accounts that Armillary made are known by their primary group, ``armillary``, and by a home in this deployment's
``users`` folder. Any other account of the machine is left alone, whoever asks.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from armillary_hub.accounts import shared_folders
from armillary_hub.accounts.errors import AccountError
from armillary_hub.accounts.names import is_robot
from armillary_hub.accounts.shadow_tools import run_when_unlocked
from armillary_hub.settings import Settings

GROUP = "armillary"

#: Processes and threads that a person may have at a time, unless an admin says otherwise.
MOST_PROCESSES = 8192

#: Seconds that processes have for ending.
END_PATIENCE = 5.0


def account_of(settings: Settings, name: str) -> pwd.struct_passwd:
    """Return the Unix account of a hub user in team mode.

    Raises
    ------
    AccountError
        If there is none, or it is not one that this deployment made.
    """
    found = _find(name)
    if found is None:
        raise AccountError(
            "The user '{name}' has no Unix account on this machine.",
            "Restart the hub (`armillary restart`): it makes the accounts that are missing.",
            name=name,
        )
    _require_ours(settings, found)
    return found


def is_persons(settings: Settings, uid: int) -> bool:
    """Return whether what runs as a uid belongs to a person of this deployment: in solo mode, to our own account."""
    if settings.mode == "solo":
        return uid == os.getuid()
    try:
        _require_ours(settings, pwd.getpwuid(uid))
    except (KeyError, AccountError):
        return False
    return True


def require_available(settings: Settings, name: str) -> None:
    """Refuse a name that `add_account` would refuse, and change nothing.

    Raises
    ------
    AccountError
        With the cause and the remedy.
    """
    if settings.mode == "team" and (found := _find(name)) is not None:
        _require_ours(settings, found)


def add_account(settings: Settings, name: str) -> None:
    """Make a hub user's home, and in team mode the Unix account; what is there already is kept.

    Raises
    ------
    AccountError
        If the name belongs to an account that this deployment didn't make, or accounts cannot be made.
    """
    home = settings.users_dir / name
    if settings.mode == "solo":
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif (found := _find(name)) is None:
        _make(settings, name)
    else:
        _require_ours(settings, found)
        if not home.exists():
            _make_home(home, found)


def remove_account(settings: Settings, name: str) -> Path | None:
    """End the account's processes, put the home aside below ``<home>/removed``, and remove the Unix account.

    Returns
    -------
    Where the home is now, which only the deployment's own account may enter; None when there was no home.
    """
    if settings.mode == "solo":
        return _put_aside(settings, name)
    found = _find(name)
    if found is None:
        return _put_aside(settings, name)
    _require_ours(settings, found)
    _require_root()
    end_processes(found.pw_uid)
    shared_folders.take_over(settings, found)
    aside = _put_aside(settings, name)
    try:
        run_when_unlocked(["userdel", name])
    except AccountError:
        if aside:
            shutil.move(aside, found.pw_dir)
            os.chown(found.pw_dir, found.pw_uid, found.pw_gid)
        raise
    shutil.rmtree(settings.runtime_dir(name), ignore_errors=True)
    return aside


def end_processes(uid: int) -> None:
    """End every process of an account: ask first, then insist.

    Raises
    ------
    AccountError
        If some cannot be ended.
    """
    for insist in (False, True, True):
        for process in _processes_of(uid):
            _signal(process, insist)
        if _all_ended(uid):
            return
    raise AccountError(
        "Processes {pids} of the account with uid {uid} do not end.",
        "Restart the machine, then try again.",
        pids=[process.pid for process in _processes_of(uid)],
        uid=uid,
    )


def _processes_of(uid: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _runs_as(process, uid)]


def _all_ended(uid: int) -> bool:
    # Looked at, not waited for: their parent may be the hub's own spawner, which wants to read how they ended.
    deadline = time.monotonic() + END_PATIENCE
    while _processes_of(uid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _runs_as(process: psutil.Process, uid: int) -> bool:
    try:
        return process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, insist: bool) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill() if insist else process.terminate()


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _require_ours(settings: Settings, account: pwd.struct_passwd) -> None:
    try:
        made_by_armillary = grp.getgrgid(account.pw_gid).gr_name == GROUP
    except KeyError:
        made_by_armillary = False
    if not made_by_armillary:
        raise AccountError(
            "'{name}' is an account of this machine that Armillary did not make.",
            "Choose another user name.",
            name=account.pw_name,
        )
    if Path(account.pw_dir) != settings.users_dir / account.pw_name:
        raise AccountError(
            "The account '{name}' belongs to another deployment on this machine (its home is {home}).",
            "Choose another user name, or remove the person there first.",
            name=account.pw_name,
            home=account.pw_dir,
        )


def _require_root() -> None:
    if os.geteuid() != 0:
        raise AccountError(
            "This hub cannot make or remove Unix accounts: it does not run as root.",
            "Start it as root (`sudo armillary up`), or in solo mode.",
        )


def _make(settings: Settings, name: str) -> None:
    _require_root()
    home = settings.users_dir / name
    run_when_unlocked(["groupadd", "--force", "--system", GROUP])
    shell = "/usr/sbin/nologin" if is_robot(name) else "/bin/bash"
    command = ["useradd", "--gid", GROUP, "--home-dir", str(home), "--shell", shell, "--no-create-home"]
    if home.exists():
        # A restored backup or a reinstalled machine: the files keep their owner.
        command += ["--uid", str(_owner(home))]
    run_when_unlocked([*command, name])
    _make_home(home, pwd.getpwnam(name))


def _owner(home: Path) -> int:
    uid = home.stat().st_uid
    try:
        taken_by = pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid
    raise AccountError(
        "The folder {home} is there already and belongs to the account '{name}'.",
        "Move it away, then add the person again.",
        home=home,
        name=taken_by,
    )


def _make_home(home: Path, account: pwd.struct_passwd) -> None:
    if home.exists():
        return
    aside = home.with_name(f".{home.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    if Path("/etc/skel").is_dir():
        shutil.copytree("/etc/skel", aside, symlinks=True, dirs_exist_ok=True)
    aside.chmod(0o700)
    for path in (aside, *aside.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    aside.rename(home)


def _put_aside(settings: Settings, name: str) -> Path | None:
    home = settings.users_dir / name
    if not home.exists():
        return None
    removed = settings.home / "removed"
    removed.mkdir(mode=0o700, exist_ok=True)
    removed.chmod(0o700)
    aside = removed / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    shutil.move(home, aside)
    if settings.mode == "team":
        os.chown(aside, 0, 0)
        aside.chmod(0o700)
    return aside
