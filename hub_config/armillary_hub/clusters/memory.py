"""The memory of a process and all its descendants, from Linux's own books (proc(5)).

Counted is what only ending them would free: anonymous memory, shared memory and swap. Not counted are mapped files,
such as a dataset's or a library's: Linux drops their pages when it needs room. What several processes share counts
once (the proportional set size), else a data loader's forked processes would each be charged with all of the dataset.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from armillary_kernels.processes import parents

_PROC = Path("/proc")
_RESIDENT = ("RssAnon", "RssShmem", "VmSwap")
_PROPORTIONAL = ("Pss_Anon", "Pss_Shmem", "SwapPss")


def families(roots: Collection[int]) -> dict[int, set[int]]:
    """Return the pids of each root and its descendants that are alive."""
    children: Mapping[int, list[int]] = defaultdict(list)
    alive = parents()
    for pid, parent in alive.items():
        children[parent].append(pid)
    return {root: _family(root, children) if root in alive else set() for root in roots}


def _family(root: int, children: Mapping[int, list[int]]) -> set[int]:
    found, new = {root}, [root]
    while new:
        new = [child for parent in new for child in children.get(parent, ()) if child not in found]
        found.update(new)
    return found


def exceeds(pids: Collection[int], limit: int) -> int | None:
    """Return the bytes that processes have together if that is more than ``limit``, else None."""
    # The proportional size takes a walk through the page tables, and is never more than this sum.
    if sum(map(resident, pids)) <= limit:
        return None
    used = sum(map(proportional, pids))
    return used if used > limit else None


def resident(pid: int) -> int:
    """Return the bytes of a process, what it shares in full; 0 when it has ended."""
    return sum(_fields(_PROC / str(pid) / "status", _RESIDENT).values())


def proportional(pid: int) -> int:
    """Return the bytes of a process, what it shares divided by the number of those who share it."""
    found = _fields(_PROC / str(pid) / "smaps_rollup", _PROPORTIONAL)
    # A container's root may not be allowed to read it, and Linux before 5.9 has no such lines.
    return sum(found.values()) if "Pss_Anon" in found else resident(pid)


def _fields(path: Path, names: Collection[str]) -> dict[str, int]:
    """Return the named lines of a file of /proc, in bytes; those that there are."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines if line.partition(":")[0] in names)
    return {name.rstrip(":"): int(size) * 1024 for name, size, *_unit in words}


def freeze(root: int) -> list[int]:
    """Stop a process and all its descendants (SIGSTOP); return their pids, the root first."""
    frozen: list[int] = []
    # A process that is not stopped yet may start others: look again until there are none.
    while new := families([root])[root].difference(frozen):
        for pid in sorted(new, key=lambda pid: pid != root):
            send(pid, signal.SIGSTOP)
            frozen.append(pid)
    return frozen


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended, or become another account's (setuid)."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
