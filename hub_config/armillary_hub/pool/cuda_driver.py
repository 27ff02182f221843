"""The process that makes the CUDA driver's checkpoint calls: ``python -m armillary_hub.pool.cuda_driver``.

A call may hang, and takes the process with it: the pool waits for an answer only so long, then kills this process and
asks another (`armillary_hub.pool.cuda_calls`). For each line of JSON that it reads it writes one: the question says
what to ``do`` and with which ``pid``; the answer has ``ok``, or ``error`` (the driver's name for it) and ``said``.

The calls are described in the CUDA driver API, section "CUDA Checkpointing": a process is running, locked (it can make
no calls), checkpointed (its GPU memory is in host memory), or failed, for good.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml

_STATES = {
    "CU_PROCESS_STATE_RUNNING": "running",
    "CU_PROCESS_STATE_LOCKED": "locked",
    "CU_PROCESS_STATE_CHECKPOINTED": "checkpointed",
    "CU_PROCESS_STATE_FAILED": "failed",
}


class DriverError(Exception):
    """The driver refuses a call.

    Parameters
    ----------
    name
        The driver's name for the error, such as ``CUDA_ERROR_NOT_SUPPORTED``.
    said
        What that means, in the driver's words.
    """

    def __init__(self, name: str, said: str) -> None:
        super().__init__(f"{name}: {said}")
        self.name = name
        self.said = said


def uses_cuda(pid: int) -> bool:
    """Return whether a process has the CUDA driver's library in it. Others are not asked: the driver knows none.

    Raises
    ------
    OSError
        If nobody knows: it lives, and may not be looked into.
    """
    try:
        return "/libcuda.so" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False


class Checkpoints:
    """The driver's calls.

    Parameters
    ----------
    cuda
        The module ``cuda.bindings.driver``.
    nvml
        The module ``pynvml``, which tells the driver's version and the UUIDs of all GPUs.
    has_cuda
        Whether a process may be asked for at all.
    """

    def __init__(self, cuda: Any, nvml: Any = pynvml, has_cuda: Callable[[int], bool] = uses_cuda) -> None:
        self._cuda = cuda
        self._nvml = nvml
        self._has_cuda = has_cuda

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Do what a question asks for, and return the answer."""
        do: dict[str, Callable[..., Any]] = {
            "version": self.version,
            "wait": self.wait,
            "state": self.state,
            "lock": self.lock,
            "checkpoint": self.checkpoint,
            "restore": self.restore,
            "unlock": self.unlock,
        }
        try:
            with _alone(question):
                return {"ok": do[question.pop("do")](**question)}
        except DriverError as error:
            return {"error": error.name, "said": error.said}
        except Exception as error:  # the bindings raise what they like where a library or a call is not there
            return {"error": type(error).__name__, "said": str(error).splitlines()[0] if str(error) else ""}

    def version(self) -> int:
        """Return the branch of the display driver, such as 580."""
        self._nvml.nvmlInit()
        try:
            version = self._nvml.nvmlSystemGetDriverVersion()
        finally:
            self._nvml.nvmlShutdown()
        return int((version.decode() if isinstance(version, bytes) else version).partition(".")[0])

    def wait(self, pid: int) -> None:
        """Wait for another process like this one, left behind by a pool that was killed, to end its call."""

    def state(self, pid: int) -> str:
        """Return a process's state, or ``"none"`` where it does not use CUDA."""
        if not self._has_cuda(pid):
            return "none"
        try:
            state = self._call(self._cuda.cuCheckpointProcessGetState, pid)
        except DriverError as error:
            # A process that has loaded the library and never used it.
            if error.name in ("CUDA_ERROR_NOT_INITIALIZED", "CUDA_ERROR_INVALID_VALUE"):
                return "none"
            raise
        return _STATES.get(self._cuda.CUprocessState(state).name, "changing")

    def lock(self, pid: int, milliseconds: int) -> None:
        """Let the process finish its work on the GPU, and make no more calls."""
        args = self._cuda.CUcheckpointLockArgs()
        args.timeoutMs = milliseconds
        self._call(self._cuda.cuCheckpointProcessLock, pid, args)

    def checkpoint(self, pid: int) -> None:
        """Move the GPU memory of a locked process to host memory, and let the GPUs go."""
        self._call(self._cuda.cuCheckpointProcessCheckpoint, pid, None)

    def restore(self, pid: int, pairs: dict[str, str]) -> None:
        """Give a checkpointed process its GPUs back; it stays locked.

        Parameters
        ----------
        pid
            The process.
        pairs
            UUIDs of GPUs that it had, and of those that it gets for them, where they differ. The driver wants a pair
            for every GPU of the machine, whichever of them the process could see.
        """
        self._begin()
        self._call(self._cuda.cuCheckpointProcessRestore, pid, self._arguments(pairs) if pairs else None)

    def unlock(self, pid: int) -> None:
        """Let a locked process make calls again."""
        self._call(self._cuda.cuCheckpointProcessUnlock, pid, None)

    def _begin(self) -> None:
        """Start the driver here, which is needed where its persistence mode is off."""
        try:
            self._call(self._cuda.cuInit, 0)
        except DriverError as error:
            # By another name: the same error of the restore itself would mean that the process is lost.
            raise DriverError("cuInit", str(error)) from error

    def _arguments(self, pairs: dict[str, str]) -> Any:
        args = self._cuda.CUcheckpointRestoreArgs()
        everywhere = whole_map(pairs, self._all_gpus())
        args.gpuPairs = [self._pair(old, new) for old, new in everywhere.items()]
        args.gpuPairsCount = len(everywhere)
        return args

    def _pair(self, old: str, new: str) -> Any:
        pair = self._cuda.CUcheckpointGpuPair()
        # The bindings read a UUID from an address, and keep a copy once it is set.
        buffers = [ctypes.create_string_buffer(_bytes(uuid), 16) for uuid in (old, new)]
        pair.oldUuid, pair.newUuid = (self._cuda.CUuuid(ctypes.addressof(buffer)) for buffer in buffers)
        return pair

    def _all_gpus(self) -> list[str]:
        nvml = self._nvml
        nvml.nvmlInit()
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            found = [nvml.nvmlDeviceGetUUID(handle) for handle in handles]
        finally:
            nvml.nvmlShutdown()
        return [uuid.decode() if isinstance(uuid, bytes) else uuid for uuid in found]

    def _call(self, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
        result, *values = function(*arguments)
        if int(result):
            name = self._cuda.CUresult(result).name
            _, words = self._cuda.cuGetErrorString(result)
            raise DriverError(name, words.decode() if isinstance(words, bytes) else str(words or name))
        return values[0] if values else None


def whole_map(pairs: dict[str, str], gpus: list[str]) -> dict[str, str]:
    """Return a map of all GPUs onto all GPUs that says what ``pairs`` say; the others stay where they can."""
    whole = dict(pairs)
    taken = set(pairs.values())
    left = [uuid for uuid in gpus if uuid not in taken]
    for uuid in gpus:
        if uuid not in whole and uuid in left:
            whole[uuid] = uuid
            left.remove(uuid)
    for uuid in gpus:
        if uuid not in whole:
            whole[uuid] = left.pop(0)
    return whole


@contextmanager
def _alone(question: dict[str, Any]) -> Iterator[None]:
    """Let no two processes like this one make calls for the same process at once; asking for its state is no harm."""
    if "pid" not in question or question["do"] == "state":
        yield
        return
    descriptor = os.open(f"/proc/{question['pid']}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _bytes(uuid: str) -> bytes:
    return bytes.fromhex(uuid.removeprefix("GPU-").replace("-", ""))


def serve(checkpoints: Checkpoints) -> None:
    """Answer until nobody asks any more."""
    for question in sys.stdin:
        sys.stdout.write(json.dumps(checkpoints.answer(json.loads(question))) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Answer with the real driver."""
    from cuda.bindings import driver  # nothing of CUDA is imported where this module is only read from

    serve(Checkpoints(driver))


if __name__ == "__main__":
    main()
