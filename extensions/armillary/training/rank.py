"""One rank: a process of its own that trains its share of every batch.

Started by the agent on a Dask worker as ``python -m armillary.training.rank FOLDER RANK EVENTS_FD RESUME``. It writes
events as JSON lines to the given file descriptor, and lives no longer than the agent: by PDEATHSIG, and by its
standard input, which ends when the agent does.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import IO, Any

import psutil
from armillary_kernels.processes import die_with_parent


def use_interface_of_route(host: str) -> None:
    """Tell gloo which one network interface leads to rank 0; it would else trust the machine's host name."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        mine = probe.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == mine for address in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = name


class EventWriter:
    """Writes events for the agent; rank 0's metrics go to the run's folder too."""

    def __init__(self, stream: IO[str], rank: int, folder: Any) -> None:
        self._stream = stream
        self._rank = rank
        self._folder = folder

    def __call__(self, event: dict[str, Any]) -> None:
        """Write one event; what is not a number becomes null, as JSON has it."""
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in event.items()
        }
        if plain["type"] in ("step", "epoch"):
            self._folder.append_metrics(plain)
        self._stream.write(json.dumps({**plain, "rank": self._rank}) + "\n")
        self._stream.flush()


def _failure(error: BaseException) -> dict[str, Any]:
    """Describe an exception so that it can be shown on another machine."""
    return {
        "type": "failed",
        "error": type(error).__name__,
        "message": str(error),
        "what": getattr(error, "what", ""),
        "remedy": getattr(error, "remedy", ""),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _train(folder: Any, rank: int, resume: bool, emit: EventWriter) -> None:
    """Load the run and train it to its end."""
    from armillary.training.engine import Engine, train
    from armillary.training.frameworks import blank_batch

    plan = folder.read_plan()
    packed, data = folder.read_start()
    engine: Engine
    if plan.framework == "torch":
        from armillary.training.torch_rank import TorchEngine

        engine = TorchEngine(plan, rank)
    else:
        from armillary.training.tensorflow_rank import TensorFlowEngine

        engine = TensorFlowEngine(plan, rank)
    engine.prepare(packed, blank_batch(data.input_spec, plan.framework))
    emit({"type": "started", "pid": os.getpid()})
    train(engine, data, folder, resume=resume, emit=emit)
    engine.leave()


def main(arguments: list[str]) -> int:
    """Run one rank; return the exit status."""
    die_with_parent()
    use_interface_of_route(os.environ["MASTER_ADDR"])
    from armillary.training.run_folder import RunFolder

    path, rank, events, resume = arguments
    folder = RunFolder(Path(path))
    with os.fdopen(int(events), "w", encoding="utf-8") as stream:
        emit = EventWriter(stream, int(rank), folder)
        try:
            _train(folder, int(rank), resume == "resume", emit)
        except BaseException as error:
            traceback.print_exc()
            emit(_failure(error))
            return 1
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: after a failure the frameworks' threads would wait for the other ranks.
    os._exit(status)
