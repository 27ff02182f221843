"""Whether this process may look into those whose GPU memory the CUDA driver is to save: it traces them (ptrace(2))."""

from __future__ import annotations

import os
from pathlib import Path

#: The bit of CAP_SYS_PTRACE in a set of capabilities (capabilities(7), linux/capability.h).
_SYS_PTRACE = 1 << 19


def obstacle(proc: Path = Path("/proc"), uid: int | None = None) -> str:
    """Return what may stand in the way, in a sentence with its remedy; empty where nothing does.

    Parameters
    ----------
    proc
        Where the system tells of its processes.
    uid
        Of the account; this process's where not given.
    """
    status = (proc / "self" / "status").read_text(encoding="ascii", errors="replace")
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    if int(effective, 16) & _SYS_PTRACE:
        return ""
    if (os.getuid() if uid is None else uid) == 0:
        return "Root lacks the capability CAP_SYS_PTRACE here: start the container with --cap-add SYS_PTRACE."
    scope = proc / "sys" / "kernel" / "yama" / "ptrace_scope"
    if scope.exists() and scope.read_text(encoding="ascii").strip() != "0":
        return f"{scope} lets no program trace others: set it to 0, or start Armillary as root."
    return ""
