"""What GPUs this machine has, as NVML says, or as many pretend ones as the settings say."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: Memory of a pretend GPU, in bytes.
SIMULATED_MEMORY = 16 * 2**30

#: Seconds that NVML may take for an answer: less than clients wait for the pool.
PATIENCE = 3.0


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
    """

    uuid: str
    index: int
    name: str
    memory: int
    trouble: str = ""


class NvmlSilentError(Exception):
    """NVML gives no answer: nothing is known of any GPU."""


class Inventory(Protocol):
    """Where the pool learns which GPUs there are."""

    def devices(self) -> tuple[Device, ...]:
        """Return the GPUs that are there, in the order of their indices.

        Raises
        ------
        NvmlSilentError
            If that cannot be found out now.
        """


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
    """The NVIDIA GPUs of this machine, asked for in a process of their own (`armillary_hub.pool.nvml`).

    A driver in trouble can hang a call for good, and the process with it; the pool only stops waiting.

    Parameters
    ----------
    command
        How that process is started.
    patience
        Seconds to wait for an answer.
    """

    def __init__(
        self, command: Sequence[str] = (sys.executable, "-m", "armillary_hub.pool.nvml"), patience: float = PATIENCE
    ) -> None:
        self._command = tuple(command)
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def devices(self) -> tuple[Device, ...]:
        """Ask NVML."""
        process = self._running()
        try:
            answer = _ask(process, self._patience)
        except (OSError, TimeoutError) as error:
            process.kill()  # where it hangs in the driver it stays until that lets it go
            raise NvmlSilentError(str(error)) from error
        return tuple(Device(**device) for device in json.loads(answer))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._process is not None:
            _close(self._process)
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            _close(self._process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _ask(process: subprocess.Popen[bytes], patience: float) -> bytes:
    """Send a line, return the next one that comes."""
    if process.stdin is None or process.stdout is None:
        raise OSError("The process that asks NVML has no pipes.")
    deadline = time.monotonic() + patience
    process.stdin.write(b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"NVML has not answered for {patience:.0f} s")
        part = process.stdout.read(65536)
        if not part:
            raise OSError("the process that asks NVML ended")
        answer += part
    return answer


def inventory_of(simulate_gpus: int) -> Inventory:
    """Return the inventory that a deployment's settings ask for."""
    return SimulatedInventory(simulate_gpus) if simulate_gpus else NvmlInventory()
