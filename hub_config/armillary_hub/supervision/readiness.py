"""Waiting until the programs of a deployment answer."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from armillary_kernels.errors import ArmillaryError

from armillary_hub.log_files import last_lines
from armillary_hub.settings import Settings
from armillary_hub.supervision.programs import Program, programs
from armillary_hub.supervision.supervisord import Supervisor

#: Seconds that a program may take to answer on a slow, cold disk.
PATIENCE = 180.0

#: Seconds in which a program that dies at its start may still recover: it may wait for another.
CRASH_PATIENCE = 20.0


def answers(settings: Settings, program: Program, patience: float = 2.0) -> bool:
    """Return whether a program answers at its address within so many seconds."""
    if program.health:
        try:
            return httpx.get(program.health, timeout=patience, trust_env=False).status_code < 300
        except httpx.HTTPError:
            return False
    if not program.port:
        return True
    public = urlsplit(settings.public_url).hostname
    host = public if program.port == "public" else "127.0.0.1"
    try:
        with socket.create_connection((host, settings.port_of(program.port)), timeout=patience):
            return True
    except OSError:
        return False


def wait_until_ready(
    settings: Settings,
    supervisord: subprocess.Popen[bytes],
    report: Callable[[str], None],
    stopping: threading.Event,
) -> bool:
    """Wait until every program answers, with a line for each.

    Returns
    -------
    Whether they do; False when ``stopping`` was set or supervisord ended meanwhile.

    Raises
    ------
    ArmillaryError
        If one does not answer in time, with the last lines of its log.
    """
    waiting = programs(settings)
    deadline = time.monotonic() + PATIENCE
    crash_deadline = deadline - PATIENCE + CRASH_PATIENCE
    while waiting:
        if stopping.is_set() or supervisord.poll() is not None:
            return False
        for program in [program for program in waiting if answers(settings, program)]:
            waiting.remove(program)
            report(f"✓ {program.title}")
        now = time.monotonic()
        if hopeless := [
            program for program in waiting if now > deadline or (now > crash_deadline and _crashes(settings, program))
        ]:
            raise _silent(settings, hopeless[0])
        stopping.wait(0.2)
    return True


def _crashes(settings: Settings, program: Program) -> bool:
    try:
        return Supervisor(settings).processes()[program.name]["statename"] in ("BACKOFF", "FATAL")
    except (OSError, KeyError):
        return False


def _silent(settings: Settings, program: Program) -> ArmillaryError:
    log = settings.logs_dir / f"{program.name}.log"
    return ArmillaryError(
        f"{program.title} does not start. The end of {log}:\n{last_lines(log, 15) or '(there is no log)'}\n",
        "Mend the cause and start again; `armillary doctor` checks the usual ones.",
    )
