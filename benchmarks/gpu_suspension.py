"""Taking a GPU from a process and giving it back: ours against the bare calls of the driver.

    python benchmarks/gpu_suspension.py [--gibibytes 4] [--rounds 3]

A process holds a tensor. In turns it is suspended and restored by the driver's four calls alone (lock, checkpoint;
restore, unlock), and as the GPU pool does it: with the host's memory reserved first, each call in a process of its own
that may hang, and NVML asked whether the GPU is really free. Needs an NVIDIA GPU and PyTorch; says so where there is
none.
"""

import argparse
import statistics
import subprocess
import sys
import time

import pynvml
from armillary_hub.pool.cuda_driver import Checkpoints
from armillary_hub.pool.cuda_suspender import CudaSuspender
from armillary_hub.pool.devices import NvmlInventory
from armillary_hub.pool.family import Family
from armillary_kernels.gpu_environment import has_gpu
from armillary_kernels.processes import Process

#: Seconds that a process has to end its work on the GPU.
PATIENCE = 10

HOLD = """
import sys, torch
tensor = torch.randint(0, 256, (int(sys.argv[1]) * 2**30,), dtype=torch.uint8, device="cuda")
before = int(tensor[:: 4096].sum(dtype=torch.int64))
print("ready", flush=True)
for line in sys.stdin:
    print(int(tensor[:: 4096].sum(dtype=torch.int64)) == before, flush=True)
"""


class Bare:
    """The driver's calls and nothing else."""

    def __init__(self, pid):
        from cuda.bindings import driver

        self._pid, self._calls = pid, Checkpoints(driver, pynvml)

    def suspend(self):
        self._calls.lock(self._pid, PATIENCE * 1000)
        self._calls.checkpoint(self._pid)

    def restore(self):
        self._calls.restore(self._pid, {})
        self._calls.unlock(self._pid)


class Pool:
    """What the GPU pool does."""

    def __init__(self, pid, inventory):
        self._devices = [device.uuid for device in inventory.devices()]
        self._family = Family(Process.of(pid))
        self._suspender = CudaSuspender(inventory)

    def suspend(self):
        self._saved = self._suspender.suspend(self._family, self._devices)

    def restore(self):
        self._suspender.restore(self._family, {uuid: uuid for uuid in self._devices}, self._saved)


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def measure(holder, ways, rounds):
    """Return the seconds of each way's suspensions and restores, in turns; the first round of each warms up."""
    told = {(name, step): [] for name in ways for step in ("suspend", "restore")}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            taken = {step: seconds(getattr(way, step)) for step in ("suspend", "restore")}
            holder.stdin.write("look\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "True\n", "the tensor has changed"
            for step, value in taken.items():
                if round_:
                    told[name, step].append(value)
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gibibytes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not has_gpu():
        print("No NVIDIA GPU here: nothing to measure.")
        return
    inventory = NvmlInventory()
    command = [sys.executable, "-c", HOLD, str(options.gibibytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "ready\n"
            told = measure(holder, {"bare": Bare(holder.pid), "pool": Pool(holder.pid, inventory)}, options.rounds)
        finally:
            holder.stdin.close()
            inventory.close()
    size = options.gibibytes * 2**30 / 1e9
    for step in ("suspend", "restore"):
        bare, pool = (statistics.median(told[name, step]) for name in ("bare", "pool"))
        print(
            f"{step} {options.gibibytes} GiB: pool {pool:.2f} s ({size / pool:.2f} GB/s), bare calls {bare:.2f} s "
            f"({size / bare:.2f} GB/s), ratio {pool / bare:.2f}"
        )


if __name__ == "__main__":
    main()
