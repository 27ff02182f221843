"""``armillary status``: the programs, the people's servers and the GPUs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import httpx
from armillary_kernels.errors import ArmillaryError
from rich.console import Console
from rich.table import Table

from armillary_hub.cli.durations import ago, duration
from armillary_hub.cli.gpus import own_books
from armillary_hub.cli.options import deployment_in, home_option
from armillary_hub.cli.plain_text import plain
from armillary_hub.settings import Settings
from armillary_hub.supervision.programs import Program, programs
from armillary_hub.supervision.readiness import answers
from armillary_hub.supervision.supervisord import Supervisor

#: Seconds in which a program answers on a busy machine.
_PATIENCE = 10.0


@click.command(
    help="Show the programs, the people's servers and the GPUs; exit status 1 when a program does not answer."
)
@home_option
def status(home: Path) -> None:
    """Print the state of the deployment in ``home``."""
    settings = deployment_in(home)
    console = Console()
    console.print(plain(f"{settings.public_url}, {settings.mode} mode, {settings.home}"))
    rows = list(program_rows(settings))
    console.print(_table(("Program", "What", "State", "Process", "For"), rows))
    for title, part in (("people", people_table), ("GPUs", own_books)):
        try:
            console.print(part(settings))
        except (httpx.HTTPError, ArmillaryError, LookupError, TypeError, ValueError, AttributeError) as error:
            console.print(plain(f"No news of {title}: {type(error).__name__}: {error}"))
    sys.exit(0 if all(row[2] == "running" for row in rows) else 1)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def program_rows(settings: Settings) -> Iterable[tuple[str, str, str, str, str]]:
    """Return a row for each program: name, title, state, process id, running time.

    Raises
    ------
    ArmillaryError
        If the deployment does not run.
    """
    try:
        known = Supervisor(settings).processes()
    except OSError:
        raise ArmillaryError(
            f"The deployment in {settings.home} does not run.", "Start it with `armillary up`."
        ) from None
    for program in programs(settings):
        info = known.get(program.name, {})
        seconds = max(0, int(info.get("now", 0)) - int(info.get("start", 0)))
        running = info.get("statename") == "RUNNING"
        yield (
            program.name,
            program.title,
            _state(settings, program, info),
            str(info["pid"]) if running else "",
            duration(seconds) if running else "",
        )


def _state(settings: Settings, program: Program, info: dict[str, Any]) -> str:
    if info.get("statename") != "RUNNING":
        return str(info.get("statename", "missing")).lower()
    return "running" if answers(settings, program, _PATIENCE) else "does not answer"


def people_table(settings: Settings) -> Table:
    """Return each person's name, and how the server is."""
    headers = {"Authorization": f"Bearer {settings.secret('operator')}"}
    answer = httpx.get(f"{settings.hub_api_url}/users", headers=headers, timeout=_PATIENCE, trust_env=False)
    users = answer.raise_for_status().json()
    return _table(("Person", "Server"), [(user["name"], _server(user.get("servers", {}).get(""))) for user in users])


def _server(server: dict[str, Any] | None) -> str:
    if not server:
        return "stopped"
    if server.get("pending"):
        return str(server["pending"])
    last = server.get("last_activity")
    return f"running, last active {ago(last) if last else 'never'}"
