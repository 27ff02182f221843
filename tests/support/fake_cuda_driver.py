"""The CUDA driver's checkpoint calls, and NVML, over pretend GPUs (`support.fake_gpus`), with the real ones' rules.

A process is running, locked, checkpointed, locked and running again, in this order and no other. Lock waits for work to
end, or gives up. What uses managed memory is not checkpointed. Too little host memory costs the process its life.
A restore allocates one piece after another; where it finds too little GPU memory the process stays checkpointed, and no
later restore succeeds (NVIDIA/cuda-checkpoint#44). A stopped process lets every call hang.

It stands in for the modules ``cuda.bindings.driver`` and ``pynvml``, in the processes that the pool starts for them.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import signal
import sys
import time
import uuid
from functools import partial
from pathlib import Path
from types import SimpleNamespace

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from armillary_kernels.processes import Process

from support.fake_gpus import TICK, FakeGpus, needed, on_gpus


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_OPERATING_SYSTEM = 304
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
        if pid in self._gpus.machine["unreadable"]:
            raise PermissionError(errno.EACCES, "Permission denied")
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
        begin, go_on = partial(self._begin_to_restore, pairs=pairs), partial(self._restore_one, pairs=pairs)
        done = self._do("restore", pid, begin, ("before",))
        while done == (CUresult.CUDA_SUCCESS, "goes on"):
            time.sleep(self._gpus.machine["slow"])
            done = self._do("restore", pid, go_on, ("after",))
        return done

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

    def _begin_to_restore(self, state, machine, pairs):
        _must_be(state, "CHECKPOINTED")
        if not self._initialised:
            refuse("NOT_INITIALIZED")
        everywhere = sorted(gpu["uuid"] for gpu in machine["gpus"])
        if pairs and (branch(machine) < 580 or not sorted(pairs) == sorted(pairs.values()) == everywhere):
            refuse("INVALID_VALUE")
        if state.get("broken"):
            refuse("OPERATING_SYSTEM")
        state["back"] = {}
        return "goes on"

    def _restore_one(self, state, machine, pairs):
        """Restore the next allocation, or end."""
        for name, one in state["allocations"].items():
            target = pairs.get(one["uuid"], one["uuid"])
            if name in state["back"]:
                continue
            if self._gpus.free(target) < one["mebibytes"]:
                state.update(back={}, broken=True)
                return "out of memory"
            state["back"][name] = target
            return "goes on"
        for name, target in state.pop("back").items():
            state["allocations"][name]["uuid"] = target
        state["state"] = "LOCKED"
        state["devices"] = [pairs.get(one, one) for one in state["devices"]]
        return None

    def _unlock(self, state, machine):
        _must_be(state, "LOCKED")
        state["state"] = "RUNNING"

    # Within --------------------------------------------------------------------------------------------------

    def _do(self, call, pid, change, when=("before", "after")):
        """Change a process's state by a rule; a call may be made to hang ``before`` or ``after`` it."""
        machine = self._gpus.machine
        if branch(machine) < 570:
            raise RuntimeError(f'Function "cuCheckpointProcess{call.title()}" not found')
        process = Process.of(pid)
        _hang_while(lambda: process is not None and process.is_stopped())
        if "before" in when:
            _hang_while(lambda: self._gpus.machine["hang"].get(call) == "before")
        with self._gpus.changing() as machine:
            state = self._gpus.process(pid)
            if state is None:
                return (CUresult.CUDA_ERROR_NOT_INITIALIZED, None)
            try:
                answer = change(state, machine)
            except RefusedError as error:
                return (error.args[0], None)
            self._gpus.keep(state)
        if answer == "out of memory":
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None)
        if "after" in when and answer != "goes on":
            _hang_while(lambda: self._gpus.machine["hang"].get(call) == "after")
        return (CUresult.CUDA_SUCCESS, answer)


def branch(machine):
    return int(machine["driver"].partition(".")[0])


def _must_be(state, name):
    if state["state"] != name:
        refuse("ILLEGAL_STATE")


def _hang_while(it_does):
    while it_does():
        time.sleep(TICK)


#: How far the host's pids are from those here: no pid is that large.
FOREIGN = 2**23


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
        _hang_while(lambda: self._gpus.machine["hang"].get("nvml"))
        return len(self._gpus.machine["gpus"])

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self._gpus.machine["gpus"][index]

    def nvmlDeviceGetMinorNumber(self, handle):  # noqa: N802
        return self._gpus.machine["gpus"].index(handle)

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
                pid=self._pid(state),
                usedGpuMemory=2**20 * sum(one["mebibytes"] for one in on_gpus(state) if one["uuid"] == handle["uuid"]),
            )
            for state in self._listed(handle)
        ]

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        busy = [self._pid(state) for state in self._listed(handle) if state["busy"]]
        if not busy:
            raise NVMLError_NotFound("nobody worked")
        now = time.monotonic_ns() // 1000
        return [SimpleNamespace(pid=pid, timeStamp=now, smUtil=90, memUtil=10, encUtil=0, decUtil=0) for pid in busy]

    def _pid(self, state):
        return state["pid"] + (FOREIGN if self._gpus.machine["listed"] == "foreign" else 0)

    def _listed(self, handle):
        return [] if self._gpus.machine["listed"] == "not" else self._on(handle)

    def _on(self, handle):
        return [
            state for state in self._gpus.processes() if any(one["uuid"] == handle["uuid"] for one in on_gpus(state))
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
