"""The folders of shared datasets, and the Unix groups that may enter them, kept in step with the hub's groups.

Each group of the hub has a folder below ``shared`` and in team mode a Unix group; the account of each member is in that
group and has a folder of its own in there::

    shared/                     0711 root
      arm-3f2a…/                0750 root:arm-3f2a…     a group of the hub: its members come in, nobody else
        .group                                          the group's name
        ann/                    2750 ann:arm-3f2a…      what Ann shares with them: she alone writes

So no member can change, remove or pose as the owner of what another shares. Processes have the groups of the moment at
which they were started: who joins or leaves a group has its datasets, or no longer, from the next start of the server.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from armillary_kernels.shared_datasets import NAME_FILE, STAGING

from armillary_hub.accounts.shadow_tools import run_when_unlocked
from armillary_hub.settings import Settings, write_atomically

_PREFIX = "arm-"


def unix_group(settings: Settings, group: str) -> str:
    """Return the Unix group of a group of the hub; another deployment's of the same name is another."""
    return _PREFIX + hashlib.sha256(f"{settings.home}\0{group}".encode()).hexdigest()[:16]


def keep_in_step(settings: Settings, name: str, groups: Iterable[str]) -> None:
    """Give a person, whose account is there, the Unix groups and the folders of exactly these groups of the hub.

    Raises
    ------
    armillary_hub.accounts.errors.AccountError
        If groups cannot be made or changed.
    """
    wanted = {unix_group(settings, group): group for group in groups}
    if settings.mode == "team":
        _join(settings, name, set(wanted))
    for folder_name, group in wanted.items():
        _make_folders(settings, settings.shared_dir / folder_name, group, name)
    for left in settings.shared_dir.glob(f"{_PREFIX}*/{name}"):
        if left.parent.name not in wanted:
            for empty in (left / STAGING, left):
                with contextlib.suppress(OSError):  # what is shared there stays
                    empty.rmdir()


def _join(settings: Settings, name: str, wanted: set[str]) -> None:
    for group in sorted(wanted):
        run_when_unlocked(["groupadd", "--force", "--system", group])
    has = {group.gr_name for group in grp.getgrall() if name in group.gr_mem and _is_ours(settings, group.gr_name)}
    if missing := wanted - has:
        run_when_unlocked(["usermod", "--append", "--groups", ",".join(sorted(missing)), name])
    for group in sorted(has - wanted):
        run_when_unlocked(["gpasswd", "--delete", name, group])


def _is_ours(settings: Settings, group: str) -> bool:
    return group.startswith(_PREFIX) and (settings.shared_dir / group).is_dir()


def _make_folders(settings: Settings, folder: Path, group: str, name: str) -> None:
    """Make a group's folder and a member's in it; nobody but root makes anything in the first."""
    gid = grp.getgrnam(folder.name).gr_gid if settings.mode == "team" else None
    _make(folder, 0o750, 0, gid)
    if not (folder / NAME_FILE).exists():
        write_atomically(folder / NAME_FILE, group, mode=0o644)
        (folder / NAME_FILE).chmod(0o644)  # whatever the umask
    own = folder / name
    uid = pwd.getpwnam(name).pw_uid if settings.mode == "team" else os.geteuid()
    if own.exists() and own.stat().st_uid != uid:  # a former person's of the same name
        own.rename(folder / f".{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    _make(own, 0o2750, uid, gid)


def _make(folder: Path, mode: int, uid: int, gid: int | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if gid is not None:
        os.chown(folder, uid, gid)
    folder.chmod(mode)


def take_over(settings: Settings, account: pwd.struct_passwd) -> None:
    """Make what a person shared the deployment's own before the account goes: others go on reading it.

    The next account that gets the same number must not own it.
    """
    for folder in settings.shared_dir.glob(f"{_PREFIX}*/{account.pw_name}"):
        # By descriptors: whoever may write in there could put a link where a path leads.
        for _path, _folders, _files, descriptor in os.fwalk(folder):
            os.fchown(descriptor, 0, -1)
            os.fchmod(descriptor, 0o2750)
            for entry in os.listdir(descriptor):  # noqa: PTH208 (a path may lead elsewhere by now)
                _take_over_file(entry, descriptor, account.pw_uid)


def _take_over_file(name: str, folder: int, uid: int) -> None:
    """Make a person's own file readable and root's; a link to another file is left as that file is."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:  # a link or a socket
        os.chown(name, 0, -1, dir_fd=folder, follow_symlinks=False)
        return
    try:
        status = os.fstat(file)
        if status.st_uid == uid and not stat.S_ISDIR(status.st_mode):
            os.fchown(file, 0, -1)
            os.fchmod(file, 0o444)
    finally:
        os.close(file)
