"""What GPUs this machine has and what they do, as NVML says, or as many pretend ones as the settings say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from armillary_hub.pool.child_process import ChildProcess, NoAnswerError

#: Memory of a pretend GPU, in bytes.
SIMULATED_MEMORY = 16 * 2**30

#: Seconds that NVML may take for an answer: less than clients wait for the pool.
PATIENCE = 3.0

#: Seconds that the first answer of a process may take: the driver may have to set up one GPU after the other.
FIRST_PATIENCE = 30.0


@dataclass(frozen=True)
class Device:
    """One GPU, or one MIG instance of a GPU that is divided.

    Attributes
    ----------
    uuid
        Its name for good; indices move when a GPU is added or lost.
    index
        Its place in PCI bus order, counted from 0; an instance counts as one.
    name
        The model.
    memory
        In bytes; 0 where NVML does not say.
    trouble
        What NVML said instead of an answer; empty for a device that works.
    driver
        The version of the NVIDIA driver; empty where there is none.
    minor
        The minor number of its device file, ``/dev/nvidia<minor>``, for a MIG instance of its GPU's; None where NVML
        does not say.
    """

    uuid: str
    index: int
    name: str
    memory: int
    trouble: str = ""
    driver: str = ""
    minor: int | None = None


@dataclass(frozen=True)
class Reading:
    """What one device does now.

    Attributes
    ----------
    uuid
        Which.
    memory
        MiB in use, by whomever; the driver's own part counts.
    utilisation
        The part of the last second or so in which it worked, 0 to 1; None where NVML does not say.
    free
        MiB that may be had.
    """

    uuid: str
    memory: int
    utilisation: float | None
    free: int = 0


@dataclass(frozen=True)
class GpuProcess:
    """One process on one device.

    Attributes
    ----------
    pid, uuid
        The process and the device.
    memory
        MiB that it uses there; 0 where NVML does not say.
    utilisation
        The part of the time since the last reading in which it worked there, at most; None where NVML does not say.
    """

    pid: int
    uuid: str
    memory: int
    utilisation: float | None = None


@dataclass(frozen=True)
class Readings:
    """What the devices do now, and which processes are on them. A device that fails is left out."""

    devices: tuple[Reading, ...] = ()
    processes: tuple[GpuProcess, ...] = ()


class NvmlSilentError(Exception):
    """NVML, which is there, gives no answer: nothing is known of any GPU."""


class Inventory(Protocol):
    """Where the pool learns which GPUs there are."""

    def devices(self) -> tuple[Device, ...]:
        """Return the GPUs that are there, in the order of their indices.

        Raises
        ------
        NvmlSilentError
            If that cannot be found out now.
        """

    def readings(self) -> Readings | None:
        """Return what the GPUs do now, or None where that is only pretended.

        Raises
        ------
        NvmlSilentError
            If that cannot be found out now.
        """


class SimulatedInventory:
    """Pretend GPUs, so that leases can be had on any machine."""

    def __init__(self, count: int) -> None:
        self._devices = tuple(
            Device(f"SIMULATED-{index}", index, "Simulated GPU", SIMULATED_MEMORY, minor=index)
            for index in range(count)
        )

    def devices(self) -> tuple[Device, ...]:
        """Return the pretend GPUs."""
        return self._devices

    def readings(self) -> None:
        """Return nothing: the books tell what a pretend GPU does."""


class NvmlInventory:
    """The NVIDIA GPUs of this machine, asked for in a process of their own (`armillary_hub.pool.nvml`).

    A driver in trouble can hang a call for good, and the process with it; the pool only stops waiting.

    Parameters
    ----------
    command
        How that process is started.
    patience, first_patience
        Seconds to wait for an answer, and for the first one of a process.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "armillary_hub.pool.nvml"),
        patience: float = PATIENCE,
        first_patience: float = FIRST_PATIENCE,
    ) -> None:
        self._child = ChildProcess(command, "NVML")
        self._patience = patience
        self._first_patience = max(patience, first_patience)

    def devices(self) -> tuple[Device, ...]:
        """Ask NVML which GPUs there are."""
        return tuple(Device(**device) for device in self._ask("devices"))

    def readings(self) -> Readings:
        """Ask NVML what they do."""
        found = self._ask("readings")
        return Readings(
            tuple(Reading(**one) for one in found["devices"]), tuple(GpuProcess(**one) for one in found["processes"])
        )

    def close(self) -> None:
        """End the process that asks."""
        self._child.close()

    def _ask(self, question: str) -> Any:
        try:
            answer = self._child.ask(question, self._patience, self._first_patience)
        except NoAnswerError as error:
            raise NvmlSilentError(str(error)) from error
        if isinstance(answer, dict) and "silent" in answer:
            raise NvmlSilentError(answer["silent"])
        return answer


def inventory_of(simulate_gpus: int) -> Inventory:
    """Return the inventory that a deployment's settings ask for."""
    return SimulatedInventory(simulate_gpus) if simulate_gpus else NvmlInventory()
