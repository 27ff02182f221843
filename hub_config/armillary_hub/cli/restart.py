"""``armillary restart``: the hub and its services start anew; people's servers keep running."""

from __future__ import annotations

import time
from pathlib import Path

import click
from armillary_kernels.errors import ArmillaryError

from armillary_hub.cli.options import deployment_in, home_option
from armillary_hub.settings import Settings
from armillary_hub.supervision.lifecycle import prepare
from armillary_hub.supervision.programs import PROXIES, Program, programs
from armillary_hub.supervision.readiness import PATIENCE, answers
from armillary_hub.supervision.supervisord import Supervisor


@click.command(
    help="Restart the hub and its services, or one PROGRAM. People's servers, kernels, clusters and apps keep running."
)
@home_option
@click.argument("program", required=False)
def restart(home: Path, program: str | None) -> None:
    """Restart all programs but the proxies, which carry people's connections, or the one named."""
    settings = deployment_in(home)
    chosen = _chosen(settings, program)
    supervisor = Supervisor(settings)
    if supervisor.pid is None:
        raise ArmillaryError(f"The deployment in {settings.home} does not run.", "Start it with `armillary up`.")
    prepare(settings)
    supervisor.reload()
    supervisor.restart(each.name for each in chosen)
    _wait(settings, chosen)


def _chosen(settings: Settings, name: str | None) -> list[Program]:
    table = programs(settings)
    if name is None:
        return [program for program in table if program.name not in PROXIES]
    found = [program for program in table if program.name == name]
    if not found:
        names = ", ".join(program.name for program in table)
        raise ArmillaryError(f"There is no program {name!r}.", f"Programs: {names}.")
    return found


def _wait(settings: Settings, chosen: list[Program]) -> None:
    deadline = time.monotonic() + PATIENCE
    for program in chosen:
        while not answers(settings, program):
            if time.monotonic() > deadline:
                log = settings.logs_dir / f"{program.name}.log"
                raise ArmillaryError(f"{program.title} does not answer after the restart.", f"Its log: {log}.")
            time.sleep(0.2)
        click.echo(f"✓ {program.title}")
