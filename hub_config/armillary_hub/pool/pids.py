"""Whether a pid that NVML tells means a process here: in a container it may be the host's."""

from __future__ import annotations

from pathlib import Path

from armillary_kernels.gpu_environment import uses_cuda

#: Whether pids here are those of the machine: the inode of its own namespace of pids is this one (PROC_PID_INIT_INO).
SEES_ALL_PIDS = Path("/proc/self/ns/pid").stat().st_ino == 0xEFFFFFFC


def is_on_gpu(pid: int) -> bool:
    """Return whether a process has a GPU open, as far as can be seen."""
    try:
        return uses_cuda(pid)
    except OSError:
        return False


def is_here(pid: int) -> bool:
    """Return whether a process that NVML lists is the one that has its pid here."""
    return SEES_ALL_PIDS or is_on_gpu(pid)
