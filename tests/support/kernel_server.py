"""A server of kernels in a process of its own, which may be killed: `KernelServer`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from armillary_kernels.processes import Process
from jupyter_client import BlockingKernelClient, KernelManager


@dataclass(frozen=True)
class ServedKernel:
    """A kernel that another process has started."""

    pid: int
    connection_file: str

    def run(self, code, timeout=30):
        """Run a cell; returns what it printed."""
        printed = []
        client = BlockingKernelClient(connection_file=self.connection_file)
        client.load_connection_file()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=timeout)
            reply = client.execute_interactive(code, timeout=timeout, output_hook=printed.append)
        finally:
            client.stop_channels()
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(one["content"]["text"] for one in printed if one["msg_type"] == "stream").strip()


class KernelServer:
    """The process.

    Parameters
    ----------
    environment
        What the spawner tells a person's server.
    folder
        For the kernels' sockets.
    """

    def __init__(self, environment, folder):
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.kernels = []

    def start_kernel(self, spec="python-torch"):
        connection_file = str(self._folder / f"kernel-{len(self.kernels)}.json")
        self._process.stdin.write(f"{spec} {connection_file}\n".encode())
        self._process.stdin.flush()
        kernel = ServedKernel(int(self._process.stdout.readline()), connection_file)
        self.kernels.append(kernel)
        return kernel

    def kill(self):
        self._process.kill()
        self._process.communicate()

    def close(self):
        """End it, and kernels that were left behind."""
        left = [Process.of(kernel.pid) for kernel in self.kernels]
        self.kill()
        for process in left:
            if process is not None and process.is_alive():
                os.kill(process.pid, 9)


def main():
    managers = []
    for line in sys.stdin:
        spec, connection_file = line.split()
        managers.append(manager := KernelManager(kernel_name=spec, connection_file=connection_file, transport="ipc"))
        manager.start_kernel()
        print(manager.provisioner.pid, flush=True)


if __name__ == "__main__":
    main()
