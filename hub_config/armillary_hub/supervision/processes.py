"""The processes of a deployment as the operating system sees them.

Every process that the deployment started, people's included, carries its home in the environment. That is how
they are found, whoever their parent is by now.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from armillary_hub.supervision.environment import DEPLOYMENT, PROGRAM


def environment_of(pid: int) -> dict[str, str] | None:
    """Return a process's environment, or None if it is gone, a zombie, or another account's."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def processes_of(home: Path) -> list[psutil.Process]:
    """Return every process of the deployment in ``home``, people's included, but this one."""
    return _with_environment(lambda environment: environment.get(DEPLOYMENT) == str(home))


def programs_of(home: Path) -> list[psutil.Process]:
    """Return the deployment's own programs, supervisord included; people's processes are not among them."""
    return _with_environment(lambda environment: environment.get(DEPLOYMENT) == str(home) and PROGRAM in environment)


def _with_environment(wanted: Callable[[dict[str, str]], bool]) -> list[psutil.Process]:
    found = []
    for pid in psutil.pids():
        environment = environment_of(pid)
        if pid != os.getpid() and environment and wanted(environment):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
    return found


def end(processes: Iterable[psutil.Process], grace: float = 10.0) -> None:
    """End processes: SIGTERM, and SIGKILL for those that are still there after ``grace`` seconds."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
    _wait_for(processes, grace)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait_for(processes, grace)  # a killed process is there until the kernel has taken it down


def _wait_for(processes: list[psutil.Process], seconds: float) -> None:
    """Wait until every process has ended, or the time is over; an unreaped zombie has ended (not so for psutil)."""
    deadline = time.monotonic() + seconds
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not, nor does another one with its number."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sweep(home: Path) -> int:
    """End every process of a deployment, those started meanwhile too; return how many there were."""
    ended: set[psutil.Process] = set()
    for _ in range(5):
        left = processes_of(home)
        if not left:
            break
        ended.update(left)
        end(left)
    return len(ended)


def listener_of(port: int) -> psutil.Process | None:
    """Return the process that listens on a TCP port, or None where this account may not know."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:
        return None
    return None
