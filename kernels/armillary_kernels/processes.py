"""Processes named so that a reused pid never counts: by pid and start time; and ending with one's parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Process:
    """One process of this machine.

    Attributes
    ----------
    pid
        Its process id.
    start_time
        When it started, in clock ticks since boot (field 22 of ``/proc/<pid>/stat``, see proc(5)).
    """

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this pid now, or None when there is none alive."""
        fields = _stat(pid)
        return None if fields is None else cls(pid, int(fields[19]))

    @classmethod
    def own(cls) -> Process:
        """Return this process."""
        own = cls.of(os.getpid())
        if own is None:
            raise RuntimeError("/proc is not mounted")
        return own

    def is_alive(self) -> bool:
        """Return whether it still runs, if only a thread of it; a zombie does not, nor another process with its pid."""
        return Process.of(self.pid) == self

    def is_stopped(self) -> bool:
        """Return whether it was stopped by a signal, or by a debugger: then it does nothing until it goes on."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] in "Tt"

    def owner(self) -> int | None:
        """Return the uid of its account (the real one), or None when it has ended."""
        try:
            status = (_PROC / str(self.pid) / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        uid = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1]
        return int(uid) if self.is_alive() else None


def kill_group(leader: Process) -> None:
    """Kill what is left of the group that a process leads or led."""
    # A group keeps its number from being reused; another process of that pid means that the group is gone.
    if leader.is_alive() or Process.of(leader.pid) is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGKILL)


def parents() -> dict[int, int]:
    """Return the pid of each live process's parent, by the process's own."""
    stats = {int(entry.name): _stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()}
    return {pid: int(fields[1]) for pid, fields in stats.items() if fields}


def left_behind(process: Process) -> list[Process]:
    """Return the living processes of the session or process group that a process led which has ended.

    Its pid is not used again as long as there are any (see setsid(2), fork(2)): where another process has it, none is.
    """
    stats = {int(entry.name): _stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()}
    led = [Process(pid, int(one[19])) for pid, one in stats.items() if one and str(process.pid) in one[2:4]]
    return [] if Process.of(process.pid) else led


def _stat(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/<pid>/stat`` from the state on, or None for a dead process or a zombie."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program stands in brackets and may itself hold brackets and spaces.
    fields = text.rpartition(")")[2].split()
    # The first thread of a killed process may be a zombie while others are still in a driver's call, with its memory.
    is_over = not fields or fields[0] in "Xx" or (fields[0] == "Z" and int(fields[17]) <= 1)
    return None if is_over else fields


def die_with_parent() -> None:
    """End this process when the thread that started it ends (prctl(2)), or when its standard input does.

    The parent holds the other end of standard input, and writes nothing to it.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_exit_when_input_ends, daemon=True).start()


def _exit_when_input_ends() -> None:
    """Also notices a parent that died before PDEATHSIG was set."""
    while os.read(0, 4096):
        pass
    os._exit(1)
