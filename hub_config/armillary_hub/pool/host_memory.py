"""Host memory: how much of it a process may still take, before the machine or a limit of its control group runs out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MIB = 2**20

#: The files of a control group that tell its limit and its use, in version 2 and in version 1.
_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


class NotEnoughMemoryError(Exception):
    """There is not enough host memory."""


class HostMemory:
    """The memory of this machine, and what of it is spoken for.

    Parameters
    ----------
    margin
        MiB that are left alone.
    root
        Where ``proc`` and ``sys`` are, for tests.
    """

    def __init__(self, margin: int = 2048, root: Path = Path("/")) -> None:
        self._margin = margin
        self._proc = root / "proc"
        self._groups = root / "sys" / "fs" / "cgroup"
        self._lock = threading.Lock()
        self._reserved = 0

    @contextmanager
    def reserved(self, mebibytes: int, pids: Iterable[int]) -> Iterator[None]:
        """Keep memory for what processes are about to take.

        Raises
        ------
        NotEnoughMemoryError
            If there is too little, with what others have reserved and the margin.
        """
        with self._lock:
            room = self.room(pids) - self._reserved - self._margin
            if mebibytes > room:
                there = f"{max(0, room)} MiB of host memory are left, and {mebibytes} MiB are needed"
                raise NotEnoughMemoryError(there)
            self._reserved += mebibytes
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= mebibytes

    def room(self, pids: Iterable[int]) -> int:
        """Return how many MiB processes may still take together."""
        rooms = [self._available()]
        for pid in {"self", *pids}:
            rooms += self._rooms_of_groups(str(pid))
        return min(rooms) // _MIB

    def _available(self) -> int:
        lines = (self._proc / "meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))

    def _rooms_of_groups(self, pid: str) -> Iterator[int]:
        """Yield what the control groups of a process leave it, its own and those above."""
        for folder in self._groups_of(pid):
            for limit_file, use_file in _FILES:
                limit, use = _number(folder / limit_file), _number(folder / use_file)
                if limit is not None and use is not None:
                    yield limit - use + _reclaimable(folder / "memory.stat")

    def _groups_of(self, pid: str) -> Iterator[Path]:
        try:
            lines = (self._proc / pid / "cgroup").read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = self._groups / "memory" if controllers else self._groups
            inside = Path(path.lstrip("/"))
            # In a container the path may be the host's; the group that is mounted at the top is ours in any case.
            yield from (top / one for one in (inside, *inside.parents))


def _number(file: Path) -> int | None:
    """Return what a file says in bytes; None where there is no limit, or no such file."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _reclaimable(file: Path) -> int:
    """Return the bytes of cached files, which the kernel drops when it needs room."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    fields = dict(line.split()[:2] for line in lines if " " in line)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
