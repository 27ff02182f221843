"""Pretend NVIDIA GPUs whose state lies in a folder, so that kernels, the driver's callers and NVML's share it.

What CUDA's checkpoint calls may do with it is in `support.fake_cuda_driver`; here is what there is: GPUs with memory,
and processes that have some of it, with what is in it. A process that dies takes its memory with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
import uuid
from pathlib import Path

from armillary_kernels.processes import Process

#: How long a call waits before it looks again.
TICK = 0.01


def gpu_uuid(number):
    return f"GPU-{uuid.UUID(int=number + 1)}"


class FakeGpus:
    """The GPUs. A test may change the ``machine``.

    ======================= =====================================================================================
    ``driver``              its version
    ``hang``                calls that hang, and whether ``"before"`` or ``"after"`` they are done; ``nvml``
    ``host``                MiB of host memory
    ``lingers``             MiB of each GPU that nobody has, and that are not free
    ``slow``                seconds that a restore takes for each allocation
    ``unreadable``          pids of processes that the pool may not look into
    ``listed``              how NVML lists processes: by their pids, by the host's (``"foreign"``), or not (``"not"``)
    ======================= =====================================================================================

    Parameters
    ----------
    folder
        Where the state is.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    @classmethod
    def make(cls, folder, *, count=1, mebibytes=8192, driver="580.65.06", host=10**6):
        folder = Path(folder)
        folder.mkdir(exist_ok=True)
        made = cls(folder)
        gpus = [{"uuid": gpu_uuid(n), "name": "NVIDIA H100", "memory": mebibytes} for n in range(count)]
        made.set_host_memory(host)
        fresh = {"hang": {}, "lingers": {}, "slow": 0.0, "unreadable": [], "listed": "here"}
        made._write("machine", {"driver": driver, "gpus": gpus, "host": host, **fresh})
        return made

    @contextlib.contextmanager
    def changing(self):
        """Hold the state alone; yields the machine, whose changes are kept."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            machine = self._read("machine")
            yield machine
            self._write("machine", machine)

    @property
    def machine(self):
        return self._read("machine")

    def set(self, **values):
        with self.changing() as machine:
            machine.update(values)

    def set_host_memory(self, mebibytes):
        """Let /proc/meminfo say that so much is left; the pool is told to look here."""
        (self.folder / "host" / "proc").mkdir(parents=True, exist_ok=True)
        (self.folder / "host" / "proc" / "meminfo").write_text(f"MemAvailable:   {mebibytes * 1024} kB\n")

    def process(self, pid):
        """The state of a living process that uses CUDA, else None."""
        process = Process.of(pid)
        return None if process is None else self._read(f"p{pid}-{process.start_time}", None)

    def keep(self, state):
        self._write(f"p{state['pid']}-{state['start_time']}", state)

    def processes(self):
        """The states of all living processes; what the dead left is forgotten."""
        found = []
        for file in self.folder.glob("p*-*.json"):
            state = self._read(file.stem, None)
            if state is None:
                continue
            if Process(state["pid"], state["start_time"]).is_alive():
                found.append(state)
            else:
                file.unlink(missing_ok=True)
        return found

    def used(self, uuid):
        """MiB of a GPU that are in use."""
        held = (one for state in self.processes() for one in on_gpus(state))
        lingers = self.machine["lingers"].get(uuid, 0)
        return lingers + sum(one["mebibytes"] for one in held if one["uuid"] == uuid)

    def free(self, uuid):
        return next(gpu["memory"] for gpu in self.machine["gpus"] if gpu["uuid"] == uuid) - self.used(uuid)

    def saved(self):
        """MiB of host memory that hold what was on GPUs."""
        return sum(needed(state) for state in self.processes() if state["state"] == "CHECKPOINTED")

    def _read(self, name, *default):
        try:
            return json.loads((self.folder / f"{name}.json").read_text())
        except FileNotFoundError:
            if default:
                return default[0]
            raise

    def _write(self, name, content):
        draft = self.folder / f"{name}.{os.getpid()}.draft"
        draft.write_text(json.dumps(content))
        draft.replace(self.folder / f"{name}.json")


def on_gpu(state):
    return state["state"] in ("RUNNING", "LOCKED")


def on_gpus(state):
    """The allocations that are on GPUs: those of a process that is being restored, one after another."""
    if on_gpu(state):
        return list(state["allocations"].values())
    return [{**state["allocations"][name], "uuid": uuid} for name, uuid in state.get("back", {}).items()]


def needed(state):
    return sum(one["mebibytes"] for one in state["allocations"].values())


class OutOfMemoryError(RuntimeError):
    pass


class FakeCuda:
    """What a kernel does with its pretend GPU, as torch would. A call while it is suspended kills it, as CUDA's do.

    Parameters
    ----------
    folder
        Of the `FakeGpus`.
    """

    def __init__(self, folder):
        self._gpus = FakeGpus(folder)
        own = Process.own()
        visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        with self._gpus.changing():
            if self._gpus.process(own.pid) is None:
                fresh = {"pid": own.pid, "start_time": own.start_time, "state": "RUNNING", "busy": False}
                self._gpus.keep({**fresh, "devices": visible, "allocations": {}})

    def put(self, name, mebibytes, values, *, managed=False, device=0):
        """Allocate memory and fill it; only what ``values`` hold is really there."""
        with self._call() as state:
            uuid = state["devices"][device]
            if self._gpus.free(uuid) < mebibytes:
                raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {mebibytes} MiB.")
            state["allocations"][name] = {"uuid": uuid, "mebibytes": mebibytes, "managed": managed, "values": values}

    def get(self, name):
        with self._call() as state:
            return state["allocations"][name]["values"]

    def free(self, name):
        with self._call() as state:
            del state["allocations"][name]

    def set_busy(self, busy):
        """Let work be on the GPU, as a kernel that was launched and has not ended."""
        with self._call() as state:
            state["busy"] = busy

    @contextlib.contextmanager
    def _call(self):
        while True:
            with self._gpus.changing():
                state = self._gpus.process(os.getpid())
                if state["state"] == "RUNNING":
                    yield state
                    self._gpus.keep(state)
                    return
                if state["state"] == "CHECKPOINTED":
                    os.kill(os.getpid(), signal.SIGSEGV)
                if state["state"] == "FAILED":
                    raise RuntimeError("CUDA error: the state of this process was lost")
            time.sleep(TICK)  # locked: CUDA's calls wait
