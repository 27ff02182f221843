"""What the books hold: leases, devices, and the audit of every change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from armillary_kernels.processes import Process
from armillary_kernels.together import Together

#: What the names begin with by which the books call services; no user has such a name.
SERVICES = "services/"

State = Literal["queued", "granted", "suspended", "released"]
Step = Literal["", "suspending", "restoring"]
DeviceState = Literal["working", "failing", "lost"]


@dataclass(frozen=True)
class Lease:
    """The right of one process to use some GPUs, or its place in the queue for them.

    Attributes
    ----------
    id
        32 hexadecimal digits.
    number
        The order in which leases were asked for.
    user, groups
        The hub user, and the user's groups when it was asked for.
    purpose, label
        What for: ``"kernel"``, ``"worker"``, ``"app"`` or ``"job"``, and which one.
    wanted
        Number of GPUs asked for.
    memory
        MiB of one GPU for a share of it; None for whole GPUs.
    state
        queued → granted → suspended → granted → released.
    step
        The change that is under way: ``"suspending"`` or ``"restoring"``; the devices are held all the while.
    holder
        The process on whose life the lease depends.
    in_use
        Whether the holder is the one that uses the GPUs, rather than one that waits for them or starts their user.
    devices
        UUIDs of the GPUs held.
    gpus
        How many GPUs it uses, a share counted by its part of the memory. Lost ones do not count. While it waits, how
        many are free and kept for it.
    counted_since
        From when it has used so many.
    came_from, saved
        UUIDs of the GPUs that a suspended lease held, and MiB of each that it needs to come back.
    asked_at, granted_at
        UTC; granted anew when it comes back from its suspension.
    waiting_since
        When it joined the queue, as a new ask or to come back; None when it is not in the queue.
    ages_since
        From when its waiting makes up for use: since it joined the queue, its user was granted anything, or its user's
        quota had room for it; None while that has none, or it does not wait.
    idle_since
        Since when its holder does nothing with the GPUs; None when it is busy or nobody says.
    ends_at
        When its idle holder is ended, for others wait and it cannot be suspended; None for nearly all.
    together
        The group of its user's asks that it was asked for with; None where it was asked for alone.
    reason
        Why it ended, or why its last change was made.
    """

    id: str
    number: int
    user: str
    groups: tuple[str, ...]
    purpose: str
    label: str
    wanted: int
    memory: int | None
    state: State
    step: Step
    holder: Process
    in_use: bool
    devices: tuple[str, ...]
    gpus: float
    came_from: tuple[str, ...]
    saved: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    asked_at: datetime
    granted_at: datetime | None
    waiting_since: datetime | None
    idle_since: datetime | None
    ages_since: datetime | None = field(default=None, kw_only=True)
    ends_at: datetime | None = field(default=None, kw_only=True)
    counted_since: datetime | None = field(default=None, kw_only=True)
    together: Together | None = field(default=None, kw_only=True)
    reason: str

    @property
    def group(self) -> tuple[str, str] | None:
        """What is equal for asks that belong together; nobody joins another person's group."""
        return None if self.together is None else (self.user, self.together.id)

    @property
    def since(self) -> datetime:
        """Since when it waits, or holds what it holds."""
        return self.waiting_since or self.granted_at or self.asked_at


@dataclass(frozen=True)
class BookedDevice:
    """One GPU or MIG instance, as the books have it.

    Attributes
    ----------
    uuid, index, name
        As in `armillary_hub.pool.devices.Device`.
    memory
        MiB; 0 where NVML does not say, and then it is not shared.
    state
        Only a working one is given to anybody. A failing one answers NVML with errors; a lost one is not listed.
    trouble
        What is wrong with it.
    exclusives, shared
        How many leases hold it whole, and how many MiB of it are shared out.
    """

    uuid: str
    index: int
    name: str
    memory: int
    state: DeviceState
    trouble: str
    exclusives: int
    shared: int

    @property
    def kind(self) -> tuple[str, int]:
        """What must be equal for a suspended process to be restored on it."""
        return self.name, self.memory

    @property
    def is_part(self) -> bool:
        """Whether it is a MIG instance, of which a process sees one, whatever else its environment names.

        See "CUDA device enumeration" in NVIDIA's Multi-Instance GPU user guide.
        """
        return self.uuid.startswith("MIG-")

    @property
    def is_free(self) -> bool:
        """Whether nobody holds any of it."""
        return not self.exclusives and not self.shared


def gpus_of(wanted: int, memory: int | None, devices: Iterable[BookedDevice]) -> float:
    """Return how many GPUs an ask holds at most: a share is the part of the smallest device that it fits into."""
    if memory is None:
        return wanted
    return memory / min((device.memory for device in devices if device.memory >= memory), default=memory)


def gpus_held(memory: int | None, devices: Sequence[int]) -> float:
    """Return how many GPUs a lease of whole ones, or of ``memory`` MiB of each, holds on devices of so many MiB."""
    return float(len(devices)) if memory is None else sum(memory / size for size in devices)


@dataclass(frozen=True)
class Change:
    """One line of the audit."""

    number: int
    at: datetime
    lease_id: str
    user: str
    before: State | None
    after: State
    devices: tuple[str, ...]
    actor: str
    reason: str


def replay(changes: Iterable[Change]) -> dict[str, tuple[State, tuple[str, ...]]]:
    """Return the state and the GPUs of every lease, as the audit alone tells them."""
    return {change.lease_id: (change.after, change.devices) for change in changes}
