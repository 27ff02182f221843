"""``armillary down``: stop the deployment and everything people run in it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import click
import psutil

from armillary_hub.cli.options import deployment_in, home_option
from armillary_hub.settings import Settings
from armillary_hub.supervision.lifecycle import PROGRAMS_PATIENCE, SERVERS_PATIENCE, running_pid, stop
from armillary_hub.supervision.processes import is_alive, processes_of


@click.command(help="Stop the deployment and everything people run in it; no process is left behind.")
@home_option
def down(home: Path) -> None:
    """Stop the deployment in ``home``."""
    settings = deployment_in(home)
    # Run from a terminal in JupyterLab, it ends that terminal too.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _stop_up(settings)
    if processes_of(settings.home):
        stop(settings, click.echo)
    left = processes_of(settings.home)
    if left:
        raise click.ClickException(f"These processes do not end: {', '.join(str(process.pid) for process in left)}.")
    click.echo(f"Nothing of the deployment in {settings.home} runs any more.")


def _stop_up(settings: Settings) -> None:
    """Let the `armillary up` that serves it stop everything, and wait for that."""
    pid = running_pid(settings)
    if pid is None:
        return
    click.echo(f"Asking `armillary up` (process {pid}) to stop everything.")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 2 * (SERVERS_PATIENCE + PROGRAMS_PATIENCE)
    # It lets go of the lock a moment before it is gone.
    while (running_pid(settings) or _runs(pid)) and time.monotonic() < deadline:
        time.sleep(0.2)


def _runs(pid: int) -> bool:
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
