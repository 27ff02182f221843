"""The hub's GPUs: who holds each, who waits, and one's own.

>>> import armillary
>>> pool = armillary.gpus()  # in a notebook the last line of a cell shows it, and keeps it current
>>> [gpu.index for gpu in pool.devices if not gpu.leases]  # those that are free
[1]
"""

from __future__ import annotations

from armillary_kernels.connection import Connection
from armillary_kernels.texts import translator

from armillary.errors import GpuError
from armillary.gpu_pool.books import Gpu, GpuLease, Gpus

_ = translator(__file__)

__all__ = ["Gpu", "GpuLease", "Gpus", "gpus"]


def gpus() -> Gpus:
    """Return the hub's GPUs as they are now, with one's own leases and the queue.

    Returns
    -------
    Gpus
        Its ``devices``, ``leases`` and ``queue`` are tuples of dataclasses: ``pandas.DataFrame(pool.leases)`` makes a
        table of them. Shown in a notebook it is a panel that keeps itself current; printed it is text.

    Raises
    ------
    GpuError
        Outside a hub.
    LeaseError
        If the GPU pool does not answer.
    """
    connection = Connection.from_environment()
    if connection is None:
        what = _("armillary.gpus() shows the GPUs of a hub, and this process was not started by one.")
        raise GpuError(what, _("Run nvidia-smi to see the GPUs of this machine."))
    return Gpus.read(connection)
