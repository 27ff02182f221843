"""Which GPUs a process may open, made to hold by Linux: a control group for each lease, and one for who has none.

A group lies below the one that its processes were in, so that every limit which held for them holds on, and people
cannot leave it: its files are root's. What a process has open stays open when its lease ends: then it is ended, or the
driver has closed it when it was suspended. Nothing needs to be remembered: a pool that starts finds the groups of an
earlier one, and each look brings them up to date.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from armillary_hub.pool import device_program
from armillary_hub.pool.family import own_pids
from armillary_hub.pool.records import Lease

_log = logging.getLogger(__name__)

_PREFIX = "armillary-"

#: The group of what people run without a lease; those of leases have their ids.
_NONE = "none"

_PROC = Path("/proc")


class DeviceGroups:
    """The groups of one deployment's processes.

    Parameters
    ----------
    name
        Of the deployment, so that two on one machine keep out of each other's way.
    is_persons
        Whether what runs as a uid belongs to a person of this deployment.

    Attributes
    ----------
    problem
        Why this cannot be had here; None where it can.
    """

    def __init__(self, name: str, is_persons: Callable[[int], bool]) -> None:
        self._prefix = f"{_PREFIX}{name}-"
        self._is_persons = is_persons
        self._lock = threading.Lock()
        self._allowed: dict[Path, frozenset[int]] = {}
        self._root = _mounted()
        self.problem = self._try()
        if self.problem is None:
            self._found = {folder for folder in self._root.glob(f"**/{self._prefix}*") if folder.is_dir()}

    def keep(
        self,
        standing: Callable[[], Sequence[Lease]],
        minors: Mapping[str, int],
        only: Collection[str] = (),
        *,
        everybody: bool = False,
    ) -> None:
        """Put the processes of leases where they belong, and say which GPUs they may open.

        Parameters
        ----------
        standing
            Returns the leases that stand; asked here, so that what is older never comes after what is newer.
        minors
            The minor number of each GPU, by UUID; a GPU without one leaves its lease's processes where they are.
        only
            The leases that are meant; empty: all.
        everybody
            Whether what they have started and what people run without a lease is seen to, too. A child is born into
            its parent's group, so that matters seldom.
        """
        if self.problem is not None:
            return
        with self._lock:
            # Before the families: else a child that is born in between seemed to be nobody's.
            persons = set(self._persons()) if everybody else set()
            leases = [one for one in standing() if one.in_use and one.holder.is_alive()]
            families = own_pids(one.holder.pid for one in leases) if everybody else {}
            for lease in leases:
                if (not only or lease.id in only) and all(uuid in minors for uuid in lease.devices):
                    pids = families.get(lease.holder.pid, {lease.holder.pid})
                    self._confine(pids, lease.id, frozenset(minors[uuid] for uuid in lease.devices))
            if everybody:
                self._confine(persons.difference(*families.values()), _NONE, frozenset())
                self._forget({one.id for one in leases} | {_NONE})

    def _confine(self, pids: Collection[int], name: str, allowed: frozenset[int]) -> None:
        for pid in pids:
            group = self._group_of(pid)
            if group is None or self._is_anothers(group):
                continue
            own = (group.parent if group.name.startswith(self._prefix) else group) / f"{self._prefix}{name}"
            try:
                self._allow(own, allowed)
                if group != own:
                    (own / "cgroup.procs").write_text(str(pid), encoding="ascii")
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.ENODEV, errno.ENOENT):  # it, or its group, has ended
                    _log.warning("Process %d cannot be put into the group %s: %s", pid, own, error)

    def _allow(self, group: Path, allowed: frozenset[int]) -> None:
        if self._allowed.get(group) == allowed and group.is_dir():
            return
        group.mkdir(exist_ok=True)
        device_program.attach(group, allowed)
        self._allowed[group] = allowed
        self._found.add(group)

    def _forget(self, names: Collection[str]) -> None:
        """Remove the groups of leases that have ended, once they are empty."""
        for group in list(self._found):
            if group.name.removeprefix(self._prefix) not in names:
                with suppress(OSError):  # what is in it yet goes to another group, or ends
                    group.rmdir()
            if not group.is_dir():
                self._found.discard(group)
                self._allowed.pop(group, None)

    def _persons(self) -> Iterator[int]:
        known: dict[int, bool] = {}
        for folder in _PROC.iterdir():
            if folder.name.isdecimal():
                with suppress(OSError):
                    uid = folder.stat().st_uid
                    if uid not in known:
                        known[uid] = uid != 0 and self._is_persons(uid)
                    if known[uid]:
                        yield int(folder.name)

    def _group_of(self, pid: int) -> Path | None:
        """Return the folder of the group that a process is in; None when it has ended."""
        with suppress(OSError):
            for line in (_PROC / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines():
                if line.startswith("0::/"):
                    return self._root / line.removeprefix("0::/")
        return None

    def _is_anothers(self, group: Path) -> bool:
        return group.name.startswith(_PREFIX) and not group.name.startswith(self._prefix)

    def _try(self) -> str | None:
        """Return what stands against it."""
        if os.geteuid() != 0:
            return "the pool does not run as root"
        own = self._group_of(os.getpid())
        if own is None or not (own / "cgroup.procs").exists():
            return "version 2 of Linux's control groups is not mounted"
        trial = own / f"{self._prefix}trial"
        try:
            trial.mkdir(exist_ok=True)
            device_program.attach(trial, ())
        except OSError as error:
            _log.warning("Control groups cannot be used: %s", error)
            return "Linux does not let the pool use control groups"
        finally:
            with suppress(OSError):
                trial.rmdir()
        return None


class NoDeviceGroups:
    """Nothing is kept apart.

    Parameters
    ----------
    problem
        Why.
    """

    def __init__(self, problem: str = "this deployment runs everything as one account") -> None:
        self.problem = problem

    def keep(self, *_what: object, everybody: bool = False) -> None:
        """Do nothing."""


def name_of(home: Path) -> str:
    """Return the name of the deployment in a folder, which the names of its groups begin with."""
    return hashlib.sha256(bytes(home)).hexdigest()[:8]


def remove(name: str) -> None:
    """Remove a deployment's groups, when nothing of it runs any more."""
    for group in _mounted().glob(f"**/{_PREFIX}{name}-*"):
        with suppress(OSError):
            group.rmdir()


def _mounted() -> Path:
    """Return where version 2 of Linux's control groups is mounted."""
    for line in (_PROC / "self" / "mounts").read_text(encoding="utf-8").splitlines():
        _device, folder, kind, *_rest = line.split()
        if kind == "cgroup2":
            return Path(folder)
    return Path("/sys/fs/cgroup")
