"""What runs on a Dask worker: a task that holds a place for one rank, starts it, and passes on what it says.

The task secedes, so that the worker takes other work and is not retired under it. It ends its rank as soon as Dask
forgets the task: when the client cancels it, and when the client's process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from distributed import get_worker
from distributed.worker import Worker, thread_state
from distributed.worker import secede as secede_from_worker

#: How often an agent looks whether it is still wanted, seconds.
ATTENTION = 0.1
#: What a rank gets between SIGTERM and SIGKILL, seconds.
GRACE = 2.0
#: Log lines that are passed on at once; the file keeps all.
LINES_AT_ONCE = 100
#: Below the ports that the system gives to outgoing connections.
RENDEZVOUS_PORTS = (20000, 32000)


@dataclass(frozen=True)
class Order:
    """What an agent is to start.

    Attributes
    ----------
    rank
        Number of the rank.
    folder
        The run's folder.
    working_folder
        Where the rank runs, if it is there.
    resume
        Whether to go on from the checkpoint.
    environment
        Variables of the rank on top of the worker's own.
    """

    rank: int
    folder: str
    working_folder: str
    resume: bool
    environment: dict[str, str] = field(default_factory=dict)


# A worker is a process: what the client sends to it lies here until the agent takes it, by attempt and worker address.
_orders: dict[tuple[str, str], Order] = {}
# Workers of this process that hold a rank, so that two runs never share one.
_taken: set[str] = set()
_taken_lock = threading.Lock()


def give_order(attempt: str, orders: dict[str, dict[str, Any]]) -> None:
    """Leave orders for the agents of this process; the client runs it on the workers."""
    for address, order in orders.items():
        _orders[attempt, address] = Order(**order)


def order_fields(order: Order) -> dict[str, Any]:
    """Return an order as plain values, so that a worker with another version of this class can read it."""
    return asdict(order)


def hold_place(attempt: str) -> int:
    """Hold a place on this worker, start the rank when the order comes, and return its exit status.

    Returns -1 when it was not wanted any more. Events go to the Dask topic ``attempt``.
    """
    worker = get_worker()
    key = thread_state.key
    secede_from_worker()

    def publish(event: dict[str, Any]) -> None:
        worker.log_event(attempt, {**event, "worker": worker.address})

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in ("executing", "long-running")

    if not _take(worker.address, wanted):
        return -1
    try:
        publish(_introduction(worker))
        order = _await_order(attempt, worker.address, wanted)
        return RankProcess(order, publish, wanted).run() if order else -1
    finally:
        with _taken_lock:
            _taken.discard(worker.address)


def _take(address: str, wanted: Callable[[], bool]) -> bool:
    """Wait until no other run has a rank on this worker."""
    while wanted():
        with _taken_lock:
            if address not in _taken:
                _taken.add(address)
                return True
        time.sleep(ATTENTION)
    return False


def _introduction(worker: Worker) -> dict[str, Any]:
    """Tell the client where this worker is and what it has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    host = worker.address.split("://")[-1].rsplit(":", 1)[0].strip("[]")
    gpus = len(list(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))))
    where = {"host": host, "node": socket.gethostname(), "cores": cores, "gpus": gpus}
    return {"type": "ready", **where, "port": free_port()}


def free_port() -> int:
    """Return a port that nobody listens on now."""
    while True:
        port = random.SystemRandom().randrange(*RENDEZVOUS_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port


def _await_order(attempt: str, address: str, wanted: Callable[[], bool]) -> Order | None:
    while wanted():
        if order := _orders.pop((attempt, address), None):
            return order
        time.sleep(ATTENTION / 2)
    return None


class RankProcess:
    """A rank's process and the threads that read from it.

    Parameters
    ----------
    order
        What to start.
    publish
        Takes each event.
    wanted
        Whether the rank is to go on.
    """

    def __init__(self, order: Order, publish: Callable[[dict[str, Any]], None], wanted: Callable[[], bool]) -> None:
        self.order = order
        self.publish = publish
        self.wanted = wanted
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.failed = False

    def run(self) -> int:
        """Start the rank, pass on its events, and return its exit status when it has ended."""
        reading, writing = os.pipe()
        process = self._start(writing)
        os.close(writing)
        threads = [
            threading.Thread(target=self._read_events, args=(os.fdopen(reading, encoding="utf-8"),), daemon=True),
            threading.Thread(target=self._read_output, args=(process.stdout,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._pass_on_until_end(process)
        finally:
            _end(process)
        for thread in threads:
            thread.join(GRACE)
        self._pass_on(ATTENTION)
        self._report_end(process.returncode)
        return process.returncode

    def _start(self, events: int) -> subprocess.Popen[bytes]:
        order = self.order
        resume = "resume" if order.resume else "start"
        command = [sys.executable, "-m", "armillary.training.rank", order.folder, str(order.rank), str(events), resume]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(events,),
            start_new_session=True,
            env={**os.environ, **order.environment},
            cwd=order.working_folder if Path(order.working_folder).is_dir() else None,
        )

    def _read_events(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.events.put(json.loads(line))

    def _read_output(self, stream: IO[bytes] | None) -> None:
        """Keep all that the rank prints in the run's folder, and pass it on line by line."""
        path = Path(self.order.folder) / f"rank-{self.order.rank}.log"
        if stream is None:
            return
        with stream, path.open("ab", buffering=0) as log:
            for line in stream:
                with contextlib.suppress(OSError):  # a full disk must not stop the rank at its next line
                    log.write(line)
                self.events.put({"type": "log", "lines": [line.decode(errors="replace").rstrip("\n")]})

    def _pass_on_until_end(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and self.wanted():
            self._pass_on(ATTENTION)

    def _pass_on(self, patience: float) -> None:
        """Publish what has come, in order, log lines in batches; wait ``patience`` seconds for the first."""
        lines: list[str] = []
        try:
            event = self.events.get(timeout=patience)
            while True:
                if event["type"] == "log":
                    lines += event["lines"]
                else:
                    self._publish_lines(lines)
                    self.failed |= event["type"] == "failed"
                    self.publish({"rank": self.order.rank, **event})
                    lines = []
                event = self.events.get_nowait()
        except queue.Empty:
            self._publish_lines(lines)

    def _publish_lines(self, lines: list[str]) -> None:
        if len(lines) > LINES_AT_ONCE:
            left_out = f"... {len(lines) - LINES_AT_ONCE} lines left out here; the run's folder has them ..."
            lines = [left_out, *lines[-LINES_AT_ONCE:]]
        if lines:
            self.publish({"type": "log", "rank": self.order.rank, "lines": lines})

    def _report_end(self, status: int) -> None:
        """Publish the end, and a failure that the rank could not report itself."""
        if status != 0 and not self.failed and self.wanted():
            self.publish({"type": "failed", "rank": self.order.rank, **_silent_death(status)})
        self.publish({"type": "ended", "rank": self.order.rank, "status": status})


def _silent_death(status: int) -> dict[str, Any]:
    """Describe a process that ended without a word."""
    return {"error": "RankDied", "message": "", "status": status, "what": "", "remedy": "", "traceback": ""}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a rank with all that it started, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
        break
    if process.stdin:
        process.stdin.close()
