"""Ends every cluster of a deployment, whether its gateway runs or not (``python -m armillary_hub.clusters.stop_all``).

It goes by the processes that the gateway recorded. The gateway's next start finds them gone and closes the books.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from armillary_kernels.processes import Process, kill_group

from armillary_hub.clusters.process_groups import ask_to_end, recorded_process
from armillary_hub.settings import Settings

#: Seconds that processes get to end by themselves.
GRACE = 5.0

_STOPPED = 5  # dask_gateway_server.backends.db_base.JobStatus.STOPPED


def recorded_processes(settings: Settings) -> list[Process]:
    """Return the schedulers and workers that the gateway recorded and that still run, schedulers first."""
    path = Path(settings.database_url("gateway").removeprefix("sqlite:///"))
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        states = [
            state
            for table in ("clusters", "workers")
            for (state,) in database.execute(f"SELECT state FROM {table} WHERE status < ?", (_STOPPED,))  # noqa: S608 - fixed names
        ]
    return [process for state in states if (process := recorded_process(json.loads(state))) and process.is_alive()]


def stop_all(settings: Settings) -> int:
    """End all recorded schedulers and workers with their children; return how many there were."""
    processes = recorded_processes(settings)
    for process in processes:
        ask_to_end(process)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(process.is_alive() for process in processes):
        time.sleep(0.05)
    for process in processes:
        kill_group(process)
    return len(processes)


if __name__ == "__main__":
    stop_all(Settings.load())
