"""What the provisioner, in the person's server, and the kernel, a process of its own, tell each other.

The provisioner tells the kernel in its environment at the start (`Order`). The kernel tells the provisioner in a small
file beside its connection file (`Note`), which is there once something has changed since: its lease, or what the person
chose. Both belong to the same account, and the folder is nobody else's.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from armillary_kernels.leases import Purpose
from armillary_kernels.plain_files import read_plain_file
from armillary_kernels.wishes import GpuWish, GpuWishError

#: The environment variables that tell a kernel its lease's id, and the rest.
LEASE_VARIABLE, ORDER_VARIABLE = "ARMILLARY_LEASE", "ARMILLARY_KERNEL_ORDER"

_LARGEST_NOTE = 4096


@dataclass(frozen=True)
class Order:
    """What a kernel is to have.

    Attributes
    ----------
    wish
        The GPUs.
    purpose, label
        What the lease is for, in the pool's books.
    wait_seconds
        How long a cell waits for them at most; None for as long as it takes.
    lease
        Its lease's id; None where the pool gave none.
    is_granted
        Whether the lease was granted when the kernel was started; its environment then says so already.
    is_booked
        Whether the pool has it in its books for certain: an ask that was not answered is repeated by the kernel.
    restarted
        Why the pool, or an admin, ended the kernel before this one; empty where nobody did.
    """

    wish: GpuWish
    purpose: Purpose = "kernel"
    label: str = ""
    wait_seconds: float | None = None
    lease: str | None = None
    is_granted: bool = False
    is_booked: bool = True
    restarted: str = ""

    def variables(self) -> dict[str, str]:
        """Return what tells a kernel."""
        rest = {
            "wish": self.wish.to_json(),
            "purpose": self.purpose,
            "label": self.label,
            "wait_seconds": self.wait_seconds,
            "is_granted": self.is_granted,
            "is_booked": self.is_booked,
            "restarted": self.restarted,
        }
        return {LEASE_VARIABLE: self.lease or "", ORDER_VARIABLE: json.dumps(rest)}

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Self | None:
        """Return what this kernel was told, and take it out: it is not for processes that a cell starts."""
        lease, told = environment.pop(LEASE_VARIABLE, ""), environment.pop(ORDER_VARIABLE, "")
        if not told:
            return None
        rest = json.loads(told)
        return cls(wish=GpuWish.from_json(rest.pop("wish")), lease=lease or None, **rest)


@dataclass(frozen=True)
class Note:
    """How a kernel stands.

    Attributes
    ----------
    lease
        The id of the lease in force; None for none.
    wish
        What that lease is for.
    choice
        What the person chose, in force now or after a restart; None for what the kernelspec says.
    """

    lease: str | None
    wish: GpuWish
    choice: GpuWish | None = None

    @staticmethod
    def path(connection_file: str) -> Path:
        """Return where the note of a kernel lies; not a name that looks like a connection file."""
        return Path(connection_file).with_suffix(".lease")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the note, or None when there is none that can be read."""
        try:
            told = json.loads(read_plain_file(path, _LARGEST_NOTE, owner=os.getuid()))
            choice = told["choice"] and GpuWish.from_json(told["choice"])
            return cls(told["lease"], GpuWish.from_json(told["wish"]), choice)
        except (OSError, ValueError, LookupError, TypeError, GpuWishError):
            return None

    def write(self, path: Path) -> None:
        """Write the note: whole, or not at all. Where the disk is full the one before stays."""
        told = {"lease": self.lease, "wish": self.wish.to_json(), "choice": self.choice and self.choice.to_json()}
        fresh = path.with_suffix(".lease-new")
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(told), encoding="utf-8")
            fresh.replace(path)
