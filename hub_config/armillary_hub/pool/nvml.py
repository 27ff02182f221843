"""The process that asks NVML, so that a driver that hangs stops nobody else: ``python -m armillary_hub.pool.nvml``.

For each line that it reads it writes one of JSON. ``devices``: the GPUs, a list of `armillary_hub.pool.devices.Device`;
``readings``: what they do now, a `armillary_hub.pool.devices.Readings`; ``{"silent": "why"}`` where NVML, which is
there, does not say.

NVML stays open from one question to the next: without NVIDIA's persistence mode a driver sets up every GPU when the
first program opens it, which takes a second or more for each, and takes it down with the last.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, TypeVar

import pynvml

from armillary_hub.pool.devices import Device, GpuProcess, NvmlSilentError, Reading, Readings

_log = logging.getLogger(__name__)

#: Seconds for which NVML stays open while a GPU answers with errors: one that was reset is seen by who opens it anew.
REOPEN_AFTER = 60.0

_Answer = TypeVar("_Answer")


class Nvml:
    """NVML's answers as devices. Where NVML is not installed there are none.

    Parameters
    ----------
    nvml
        The module ``pynvml``.
    clock
        The monotonic clock.
    """

    def __init__(self, nvml: Any = pynvml, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._clock = clock
        self._opened: float | None = None
        self._said = ""
        self._known: dict[int, list[Device]] = {}
        self._seen: dict[str, int] = defaultdict(int)  # the time of the last work that was read, by device

    def devices(self) -> list[Device]:
        """Return the GPUs; one that answers with errors comes as it was known before, and in trouble.

        Raises
        ------
        NvmlSilentError
            If NVML is there and does not say which GPUs there are.
        """
        found = self._of_each_gpu(self._gpu)
        driver = self._driver() if found else ""
        if any(device.trouble for device in found):
            self._close_in_time()
        return [replace(device, index=index, driver=driver) for index, device in enumerate(found)]

    def readings(self) -> Readings:
        """Return what the GPUs do now; one that answers with errors is left out."""
        found = self._of_each_gpu(self._readings_of)
        return Readings(tuple(one for one, _ in found), tuple(process for _, there in found for process in there))

    def _of_each_gpu(self, ask: Callable[[int], list[_Answer]]) -> list[_Answer]:
        if not self._is_there():
            return []
        try:
            return [answer for gpu in range(self._nvml.nvmlDeviceGetCount()) for answer in ask(gpu)]
        except self._nvml.NVMLError as error:
            self._close()
            raise self._silent(f"NVML does not say how many GPUs there are: {error}") from error

    def _is_there(self) -> bool:
        """Open NVML, unless it is open; returns False where it is not installed."""
        if self._opened is not None:
            return True
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError_LibraryNotFound as error:
            self._say(f"There is no NVIDIA driver here: {error}")
            return False
        except self._nvml.NVMLError as error:
            # The driver may be about to start, or be exchanged: what was known of the GPUs is not forgotten for it.
            raise self._silent(f"NVML cannot be used: {error}") from error
        self._opened = self._clock()
        return True

    def _silent(self, why: str) -> NvmlSilentError:
        self._say(why)
        return NvmlSilentError(why)

    def _close_in_time(self) -> None:
        if self._opened is not None and self._clock() - self._opened > REOPEN_AFTER:
            self._close()

    def _close(self) -> None:
        self._opened = None
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _driver(self) -> str:
        try:
            return _text(self._nvml.nvmlSystemGetDriverVersion())
        except self._nvml.NVMLError:
            return ""

    def _gpu(self, gpu: int) -> list[Device]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(gpu)
            minor = self._minor(handle)
            self._known[gpu] = [self._device(one, minor) for one in self._instances(handle)]
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

    def _device(self, handle: Any, minor: int | None) -> Device:
        uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        return Device(uuid, 0, self._name(handle), self._memory(handle), minor=minor)

    def _minor(self, handle: Any) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetMinorNumber(handle))
        except self._nvml.NVMLError:
            return None

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

    # What they do ----------------------------------------------------------------------------------------

    def _readings_of(self, gpu: int) -> list[tuple[Reading, list[GpuProcess]]]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(gpu)
            return [(self._reading(one), self._processes(one)) for one in self._instances(handle)]
        except self._nvml.NVMLError as error:
            _log.debug("GPU %d does not say what it does: %s", gpu, error)  # `devices` says it aloud
            return []

    def _reading(self, handle: Any) -> Reading:
        nvml = self._nvml
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            utilisation = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        except nvml.NVMLError:
            utilisation = None  # an instance has none of its own
        used, free = (int(part) // 2**20 for part in (memory.used, memory.free))
        return Reading(_text(nvml.nvmlDeviceGetUUID(handle)), used, utilisation, free)

    def _processes(self, handle: Any) -> list[GpuProcess]:
        uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        running = {one.pid: one for one in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        worked = self._worked(handle, uuid)
        return [
            GpuProcess(pid, uuid, (one.usedGpuMemory or 0) // 2**20, None if worked is None else worked.get(pid, 0.0))
            for pid, one in running.items()
        ]

    def _worked(self, handle: Any, uuid: str) -> dict[int, float] | None:
        """Return how much each process worked since it was last asked, at most; None where NVML does not say."""
        nvml = self._nvml
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, self._seen[uuid])
        except nvml.NVMLError_NotFound:
            return {}  # nobody worked
        except nvml.NVMLError:
            return None
        self._seen[uuid] = max([self._seen[uuid], *(one.timeStamp for one in samples)])
        worked: dict[int, float] = {}
        for one in samples:
            busiest = max(one.smUtil, one.memUtil, one.encUtil, one.decUtil)
            worked[one.pid] = max(worked.get(one.pid, 0.0), min(1.0, busiest / 100))
        return worked

    def _say(self, what: str) -> None:
        if what != self._said:
            _log.warning("%s", what)
        self._said = what


def _text(answer: str | bytes) -> str:
    """Return what NVML said as text; older bindings answer in bytes."""
    return answer.decode() if isinstance(answer, bytes) else answer


def answer(nvml: Nvml, question: str) -> str:
    """Return one line of answer."""
    try:
        if question == "readings":
            return json.dumps(asdict(nvml.readings()))
        return json.dumps([asdict(device) for device in nvml.devices()])
    except NvmlSilentError as error:
        return json.dumps({"silent": str(error)})


def serve(nvml: Nvml) -> None:
    """Answer until nobody asks any more."""
    for question in sys.stdin:
        sys.stdout.write(answer(nvml, question.strip()) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Answer with the real NVML."""
    serve(Nvml())


if __name__ == "__main__":
    main()
