"""``armillary doctor``: check what a deployment needs, and say what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from armillary_hub.checks import diagnose
from armillary_hub.cli.options import home_option
from armillary_hub.cli.up import decide_settings

_SIGNS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command(
    help="Check ports, disk, GPU driver, account, folders and versions. Exit status 1 when something must be mended."
)
@home_option
@click.option("--port", type=click.IntRange(1, 65526), help="The public port to look at. [that of the last start]")
def doctor(home: Path, port: int | None) -> None:
    """Print the findings of every check for the deployment in ``home``, made or still to be made."""
    findings = diagnose(decide_settings(home.absolute(), port=port))
    for finding in findings:
        sign, colour = _SIGNS[finding.level]
        click.echo(f"{click.style(sign, fg=colour)} {finding.subject}: {finding.what}")
        if finding.remedy:
            click.echo(f"    {finding.remedy}")
    sys.exit(1 if any(finding.level == "problem" for finding in findings) else 0)
