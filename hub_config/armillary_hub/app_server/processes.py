"""Linux's own means of tying processes together and of hiding one's secrets (prctl(2))."""

from __future__ import annotations

import ctypes
import os
import signal

from armillary_kernels.errors import ArmillaryError

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise ArmillaryError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}.", "Armillary needs Linux.")


def die_with_parent(parent: int) -> None:
    """Have the kernel send this process SIGTERM when its parent, process ``parent``, ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the call took effect
        raise SystemExit(1)


def hide_from_own_account() -> None:
    """Keep other processes of this account from reading this one's memory and environment, tokens included."""
    _prctl(_PR_SET_DUMPABLE, 0)
