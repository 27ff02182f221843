"""Widgets whose messages pass a kernel's gate without a GPU (`armillary_kernels.gpu_kernel`).

Their code is ours, touches no object of the person's and no GPU: a panel that shows the queue must work while its
kernel waits in it. What they send does not keep the kernel busy, either.
"""

from __future__ import annotations

_comms: set[str] = set()


def add(comm_id: str) -> None:
    """Let a widget's messages pass."""
    _comms.add(comm_id)


def discard(comm_id: str) -> None:
    """Let them wait as everybody's."""
    _comms.discard(comm_id)


def passes(comm_id: str) -> bool:
    """Return whether a widget's messages pass."""
    return comm_id in _comms
