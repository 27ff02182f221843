"""The CUDA driver's checkpoint calls as the pool makes them: in a process of their own, each with a deadline."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from armillary_hub.pool.child_process import ChildProcess, NoAnswerError

#: How the process that makes the calls is started.
COMMAND = (sys.executable, "-m", "armillary_hub.pool.cuda_driver")

#: The first driver with these calls, and the first that can restore on another GPU.
FIRST, FIRST_THAT_MOVES = 570, 580

#: What a process is for the driver: ``"none"`` where it does not use CUDA.
CudaState = Literal["none", "running", "locked", "checkpointed", "failed", "changing"]

_MUST_LOOK = (
    "the pool may not look into it: it must run as root with the capability CAP_SYS_PTRACE, which a container lacks "
    "unless it is added (docker run --cap-add SYS_PTRACE)"
)

_MEANINGS = {
    "CUDA_ERROR_NOT_SUPPORTED": "it uses what the driver cannot save: managed memory, memory shared with other "
    "processes, or a group of NCCL",
    "CUDA_ERROR_NOT_READY": "its work on the GPU did not end in time",
    "CUDA_ERROR_NOT_PERMITTED": _MUST_LOOK,
    "CUDA_ERROR_OPERATING_SYSTEM": _MUST_LOOK,
    "PermissionError": _MUST_LOOK,
    "CUDA_ERROR_OUT_OF_MEMORY": "there is not enough memory",
}


class DriverRefusedError(Exception):
    """The driver refuses a call.

    Parameters
    ----------
    name, said
        Its name for the error, and its words. Where the system refuses, that of Python's exception.
    """

    def __init__(self, name: str, said: str) -> None:
        super().__init__(_MEANINGS.get(name) or f"the driver refuses: {name} ({said})")
        self.name = name


class DriverSilentError(Exception):
    """The driver gives no answer."""


@dataclass(frozen=True)
class Patience:
    """How many seconds calls may take.

    Attributes
    ----------
    call
        One that copies nothing, the start of the process that makes it included.
    lock
        For a process to finish the work that it has on the GPU.
    copy
        One that copies GPU memory, besides the copying itself.
    rate
        MiB a second that copying is at least expected to reach.
    others
        For what a pool that was killed has left behind to end its call.
    """

    call: float = 15.0
    lock: float = 10.0
    copy: float = 30.0
    rate: float = 200.0
    others: float = 600.0


class CudaCalls:
    """The calls. A context manager: the process that makes them ends with it.

    Every method raises `DriverRefusedError` or `DriverSilentError`.

    Parameters
    ----------
    command
        How the process that makes them is started.
    patience
        For how long they are waited for.
    """

    def __init__(self, command: Sequence[str] = COMMAND, patience: Patience = Patience()) -> None:
        self._child = ChildProcess(command, "the CUDA driver")
        self._patience = patience

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.close()

    def version(self) -> int:
        """Return the branch of the display driver, such as 580."""
        return int(self._ask("version", self._patience.call))

    def wait(self, pid: int) -> None:
        """Wait for a call that a pool which was killed had begun."""
        self._ask("wait", self._patience.others, pid=pid)

    def state(self, pid: int) -> CudaState:
        """Return what a process is for the driver."""
        state: CudaState = self._ask("state", self._patience.call, pid=pid)
        return state

    def lock(self, pid: int) -> None:
        """Let a process finish its work and make no more calls; one that does not finish runs on."""
        limit = self._patience.lock
        self._ask("lock", limit + self._patience.call, pid=pid, milliseconds=int(limit * 1000))

    def checkpoint(self, pid: int, mebibytes: int) -> None:
        """Move the GPU memory of a locked process to host memory."""
        self._ask("checkpoint", self._copying(mebibytes), pid=pid)

    def restore(self, pid: int, mebibytes: int, pairs: Mapping[str, str]) -> None:
        """Move it back, to other GPUs where ``pairs`` say so; the process stays locked."""
        self._ask("restore", self._copying(mebibytes), pid=pid, pairs=dict(pairs))

    def unlock(self, pid: int) -> None:
        """Let a locked process go on."""
        self._ask("unlock", self._patience.call, pid=pid)

    def _copying(self, mebibytes: int) -> float:
        return self._patience.copy + mebibytes / self._patience.rate

    def _ask(self, do: str, seconds: float, **values: Any) -> Any:
        try:
            answer = self._child.ask(json.dumps({"do": do, **values}), seconds)
        except NoAnswerError as error:
            raise DriverSilentError(str(error)) from error
        if "error" in answer:
            raise DriverRefusedError(answer["error"], answer["said"])
        return answer["ok"]
