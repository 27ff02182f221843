"""The process that asks NVML, so that a driver that hangs stops nobody else: ``python -m armillary_hub.pool.nvml``.

For each line that it reads it writes one: the GPUs, as a list of `armillary_hub.pool.devices.Device` in JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pynvml

from armillary_hub.pool.devices import Device

_log = logging.getLogger(__name__)


class Nvml:
    """NVML's answers as devices. Without a driver there are none.

    Parameters
    ----------
    nvml
        The module ``pynvml``.
    """

    def __init__(self, nvml: Any = pynvml) -> None:
        self._nvml = nvml
        self._said = ""
        self._known: dict[int, list[Device]] = {}

    def devices(self) -> list[Device]:
        """Return the GPUs; one that answers with errors comes as it was known before, and in trouble."""
        nvml = self._nvml
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            self._say(f"No NVIDIA GPU can be used here: {error}")
            return []
        try:
            found = [device for gpu in range(nvml.nvmlDeviceGetCount()) for device in self._gpu(gpu)]
        except nvml.NVMLError as error:
            self._say(f"NVML does not say how many GPUs there are: {error}")
            return []
        finally:
            nvml.nvmlShutdown()
        return [replace(device, index=index) for index, device in enumerate(found)]

    def _gpu(self, gpu: int) -> list[Device]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(gpu)
            self._known[gpu] = [self._device(one) for one in self._instances(handle)]
        except self._nvml.NVMLError as error:
            self._say(f"GPU {gpu} does not answer and is not given to anyone: {error}")
            return [replace(device, trouble=str(error)) for device in self._known.get(gpu, [])]
        return self._known[gpu]

    def _instances(self, handle: Any) -> Iterator[Any]:
        """Yield the handles of a GPU's MIG instances, or its own where it is not divided."""
        nvml = self._nvml
        try:
            divided = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
        except nvml.NVMLError:
            divided = False  # most models know no MIG
        if not divided:
            yield handle
            return
        for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
            except nvml.NVMLError_NotFound:
                continue

    def _device(self, handle: Any) -> Device:
        return Device(_text(self._nvml.nvmlDeviceGetUUID(handle)), 0, self._name(handle), self._memory(handle))

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


def answer(nvml: Nvml) -> str:
    """Return one line of answer."""
    return json.dumps([asdict(device) for device in nvml.devices()])


def main() -> None:
    """Answer until nobody asks any more."""
    nvml = Nvml()
    for _ in sys.stdin:
        sys.stdout.write(answer(nvml) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
