"""What GPUs this machine has, as NVML says, or as many pretend ones as the settings say."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

import pynvml

_log = logging.getLogger(__name__)

#: Memory of a pretend GPU, in bytes.
SIMULATED_MEMORY = 16 * 2**30


@dataclass(frozen=True)
class Device:
    """One GPU.

    Attributes
    ----------
    uuid
        Its name for good; indices move when a GPU is added or lost.
    index
        Its place in PCI bus order, counted from 0, which is what ``CUDA_VISIBLE_DEVICES`` names.
    name
        The model.
    memory
        In bytes; 0 where NVML does not say.
    """

    uuid: str
    index: int
    name: str
    memory: int


class Inventory(Protocol):
    """Where the pool learns which GPUs there are."""

    def devices(self) -> tuple[Device, ...]:
        """Return the GPUs that work, in the order of their indices."""


class SimulatedInventory:
    """Pretend GPUs, so that leases can be had on any machine."""

    def __init__(self, count: int) -> None:
        self._devices = tuple(
            Device(f"SIMULATED-{index}", index, "Simulated GPU", SIMULATED_MEMORY) for index in range(count)
        )

    def devices(self) -> tuple[Device, ...]:
        """Return the pretend GPUs."""
        return self._devices


class NvmlInventory:
    """The NVIDIA GPUs of this machine. Without a driver there are none."""

    def __init__(self, nvml: Any = pynvml) -> None:
        self._nvml = nvml
        self._said = ""

    def devices(self) -> tuple[Device, ...]:
        """Ask NVML; a GPU that does not answer is left out, and the log says so once."""
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            self._say(f"No NVIDIA GPU can be used here: {error}")
            return ()
        try:
            count = self._nvml.nvmlDeviceGetCount()
            found = [self._device(index) for index in range(count)]
        except self._nvml.NVMLError as error:
            self._say(f"NVML does not say how many GPUs there are: {error}")
            return ()
        finally:
            self._nvml.nvmlShutdown()
        return tuple(device for device in found if device is not None)

    def _device(self, index: int) -> Device | None:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        except nvml.NVMLError as error:
            self._say(f"GPU {index} does not answer and is not given to anyone: {error}")
            return None
        return Device(uuid, index, self._name(handle), self._memory(handle))

    def _name(self, handle: Any) -> str:
        try:
            return _text(self._nvml.nvmlDeviceGetName(handle))
        except self._nvml.NVMLError:
            return "NVIDIA GPU"

    def _memory(self, handle: Any) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(handle).total)
        except self._nvml.NVMLError:
            return 0

    def _say(self, what: str) -> None:
        if what != self._said:
            _log.warning("%s", what)
        self._said = what


def _text(answer: str | bytes) -> str:
    """Return what NVML said as text; older bindings answer in bytes."""
    return answer.decode() if isinstance(answer, bytes) else answer


def inventory_of(simulate_gpus: int) -> Inventory:
    """Return the inventory that a deployment's settings ask for."""
    return SimulatedInventory(simulate_gpus) if simulate_gpus else NvmlInventory()
