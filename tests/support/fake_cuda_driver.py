"""The CUDA driver's checkpoint calls, and NVML, over pretend GPUs (`support.fake_gpus`), with the real ones' rules.

A process is running, locked, checkpointed, locked and running again, in this order and no other. Lock waits for work to
end, or gives up. What uses managed memory is not checkpointed. Too little host memory costs the process its life.
A restore with too little GPU memory loses its state for ever. A stopped process lets every call hang.

It stands in for the modules ``cuda.bindings.driver`` and ``pynvml``, in the processes that the pool starts for them.
"""

from __future__ import annotations

import ctypes
import enum
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from armillary_kernels.processes import Process

from support.fake_gpus import TICK, FakeGpus, needed, on_gpu


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_ILLEGAL_STATE = 401
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_NOT_SUPPORTED = 801


class CUprocessState(enum.IntEnum):
    CU_PROCESS_STATE_RUNNING = 0
    CU_PROCESS_STATE_LOCKED = 1
    CU_PROCESS_STATE_CHECKPOINTED = 2
    CU_PROCESS_STATE_FAILED = 3


class RefusedError(Exception):
    pass


def refuse(name):
    raise RefusedError(CUresult[f"CUDA_ERROR_{name}"])


class Uuid:
    def __init__(self, address):
        self.bytes = ctypes.string_at(address, 16)

    def __str__(self):
        return f"GPU-{uuid.UUID(bytes=self.bytes)}"


class Arguments(SimpleNamespace):
    """Any of the structs of arguments."""


class FakeDriver:
    """``cuda.bindings.driver``."""

    CUresult, CUprocessState, CUuuid = CUresult, CUprocessState, Uuid
    CUcheckpointLockArgs = CUcheckpointRestoreArgs = CUcheckpointGpuPair = Arguments

    def __init__(self, folder):
        self._gpus = FakeGpus(folder)
        self._initialised = False

    def has_cuda(self, pid):
        return self._gpus.process(pid) is not None

    def cuGetErrorString(self, error):  # noqa: N802 - CUDA's names
        return CUresult.CUDA_SUCCESS, CUresult(error).name.removeprefix("CUDA_ERROR_").lower().encode()

    def cuInit(self, flags):  # noqa: N802
        self._initialised = True
        return (CUresult.CUDA_SUCCESS,)

    def cuCheckpointProcessGetState(self, pid):  # noqa: N802
        return self._do("state", pid, lambda state, _: CUprocessState[f"CU_PROCESS_STATE_{state['state']}"].value)

    def cuCheckpointProcessLock(self, pid, args):  # noqa: N802
        deadline = time.monotonic() + args.timeoutMs / 1000
        while True:
            done = self._do("lock", pid, self._lock)
            if done[0] != CUresult.CUDA_ERROR_NOT_READY or (args.timeoutMs and time.monotonic() > deadline):
                return done
            time.sleep(TICK)

    def cuCheckpointProcessCheckpoint(self, pid, args):  # noqa: N802
        return self._do("checkpoint", pid, self._checkpoint)

    def cuCheckpointProcessRestore(self, pid, args):  # noqa: N802
        pairs = {str(pair.oldUuid): str(pair.newUuid) for pair in args.gpuPairs} if args else {}
        assert not args or args.gpuPairsCount == len(pairs)
        return self._do("restore", pid, lambda state, machine: self._restore(state, machine, pairs))

    def cuCheckpointProcessUnlock(self, pid, args):  # noqa: N802
        return self._do("unlock", pid, self._unlock)

    # The rules -----------------------------------------------------------------------------------------------

    def _lock(self, state, machine):
        _must_be(state, "RUNNING")
        if state["busy"]:
            refuse("NOT_READY")
        state["state"] = "LOCKED"

    def _checkpoint(self, state, machine):
        _must_be(state, "LOCKED")
        if any(one["managed"] for one in state["allocations"].values()):
            refuse("NOT_SUPPORTED")
        if self._gpus.saved() + needed(state) > machine["host"]:
            os.kill(state["pid"], signal.SIGKILL)  # as the kernel's OOM killer does
        state["state"] = "CHECKPOINTED"

    def _restore(self, state, machine, pairs):
        _must_be(state, "CHECKPOINTED")
        if not self._initialised:
            refuse("NOT_INITIALIZED")
        everywhere = sorted(gpu["uuid"] for gpu in machine["gpus"])
        if pairs and (branch(machine) < 580 or not sorted(pairs) == sorted(pairs.values()) == everywhere):
            refuse("INVALID_VALUE")
        needs = {}
        for one in state["allocations"].values():
            target = pairs.get(one["uuid"], one["uuid"])
            needs[target] = needs.get(target, 0) + one["mebibytes"]
        if any(self._gpus.free(uuid) < size for uuid, size in needs.items()):
            state["state"] = "FAILED"
            return
        state["state"] = "LOCKED"
        state["devices"] = [pairs.get(uuid, uuid) for uuid in state["devices"]]
        for one in state["allocations"].values():
            one["uuid"] = pairs.get(one["uuid"], one["uuid"])

    def _unlock(self, state, machine):
        _must_be(state, "LOCKED")
        state["state"] = "RUNNING"

    # Within --------------------------------------------------------------------------------------------------

    def _do(self, call, pid, change):
        """Change a process's state by a rule; a call may be made to hang ``before`` or ``after`` it."""
        machine = self._gpus.machine
        if branch(machine) < 570:
            raise RuntimeError(f'Function "cuCheckpointProcess{call.title()}" not found')
        hangs = machine["hang"].get(call)
        process = Process.of(pid)
        if hangs == "before" or (process is not None and process.is_stopped()):
            _hang()
        with self._gpus.changing() as machine:
            state = self._gpus.process(pid)
            if state is None:
                return (CUresult.CUDA_ERROR_NOT_INITIALIZED, None)
            try:
                answer = change(state, machine)
            except RefusedError as error:
                return (error.args[0], None)
            self._gpus.keep(state)
        if hangs == "after":
            _hang()
        if call == "restore" and state["state"] == "FAILED":
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None)
        return (CUresult.CUDA_SUCCESS, answer)


def branch(machine):
    return int(machine["driver"].partition(".")[0])


def _must_be(state, name):
    if state["state"] != name:
        refuse("ILLEGAL_STATE")


def _hang():
    while True:
        signal.pause()


class NVMLError(Exception):
    pass


class NVMLError_NotFound(NVMLError):  # noqa: N801, N818 - NVML's names
    pass


class FakeNvml:
    """``pynvml``."""

    NVMLError, NVMLError_NotFound, NVML_DEVICE_MIG_ENABLE = NVMLError, NVMLError_NotFound, 1

    def __init__(self, folder):
        self._gpus = FakeGpus(folder)

    def nvmlInit(self):  # noqa: N802 - NVML's names
        pass

    def nvmlShutdown(self):  # noqa: N802
        pass

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return self._gpus.machine["driver"]

    def nvmlDeviceGetCount(self):  # noqa: N802
        if self._gpus.machine["hang"].get("nvml"):
            _hang()
        return len(self._gpus.machine["gpus"])

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self._gpus.machine["gpus"][index]

    def nvmlDeviceGetMigMode(self, handle):  # noqa: N802
        raise NVMLError("not supported")

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return handle["uuid"]

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return handle["name"]

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        used = self._gpus.used(handle["uuid"])
        sizes = {"total": handle["memory"], "used": used, "free": handle["memory"] - used}
        return SimpleNamespace(**{name: size * 2**20 for name, size in sizes.items()})

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        return SimpleNamespace(gpu=100 if any(state["busy"] for state in self._on(handle)) else 0)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [
            SimpleNamespace(
                pid=state["pid"],
                usedGpuMemory=2**20
                * sum(one["mebibytes"] for one in state["allocations"].values() if one["uuid"] == handle["uuid"]),
            )
            for state in self._on(handle)
        ]

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        busy = [state["pid"] for state in self._on(handle) if state["busy"]]
        if not busy:
            raise NVMLError_NotFound("nobody worked")
        now = time.monotonic_ns() // 1000
        return [SimpleNamespace(pid=pid, timeStamp=now, smUtil=90, memUtil=10, encUtil=0, decUtil=0) for pid in busy]

    def _on(self, handle):
        return [
            state
            for state in self._gpus.processes()
            if on_gpu(state) and any(one["uuid"] == handle["uuid"] for one in state["allocations"].values())
        ]


def command(folder, which):
    """How a process that answers for ``"cuda"`` or ``"nvml"`` is started."""
    return (sys.executable, __file__, str(folder), which)


def main(folder, which):
    if which == "nvml":
        from armillary_hub.pool import nvml

        nvml.serve(nvml.Nvml(FakeNvml(folder)))
    else:
        from armillary_hub.pool import cuda_driver

        driver = FakeDriver(folder)
        cuda_driver.serve(cuda_driver.Checkpoints(driver, FakeNvml(folder), driver.has_cuda))


if __name__ == "__main__":
    main(*sys.argv[1:])
