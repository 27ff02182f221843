"""The command line: ``armillary up``, ``down``, ``status`` and the like, and what other rooms add.

A command's module is imported when the command is used, so that ``armillary --help`` answers at once.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint, entry_points

import click
from armillary_kernels.errors import ArmillaryError

#: This room's commands: where each is, and what ``armillary --help`` says of it.
COMMANDS = {
    "up": ("armillary_hub.cli.up:up", "Start the deployment and serve until Ctrl-C."),
    "down": ("armillary_hub.cli.down:down", "Stop the deployment and everything people run in it."),
    "restart": (
        "armillary_hub.cli.restart:restart",
        "Restart the hub and its services; people's servers keep running.",
    ),
    "status": ("armillary_hub.cli.status:status", "Show the programs, the people's servers and the GPUs."),
    "gpus": ("armillary_hub.cli.gpus:gpus", "Show who holds each GPU, and who waits for one."),
    "invite": ("armillary_hub.cli.invite:invite", "Print a new link for a person who forgot the password."),
    "doctor": ("armillary_hub.cli.doctor:doctor", "Check what a deployment needs, and say what to do."),
}


class Commands(click.Group):
    """The subcommands, loaded on first use; other rooms bring theirs by entry points (``armillary.commands``)."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of all commands, this room's first."""
        return [*COMMANDS, *sorted(set(_others()) - set(COMMANDS))]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            return getattr(importlib.import_module(module), attribute)
        entry = _others().get(name)
        return entry.load() if entry else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing this room's."""
        rows = [(name, self._summary(context, name)) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _summary(self, context: click.Context, name: str) -> str:
        if name in COMMANDS:
            return COMMANDS[name][1]
        command = self.get_command(context, name)
        return command.get_short_help_str(80) if command else ""


def _others() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="armillary.commands")}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="armillary")
def armillary() -> None:
    """Armillary: a shared workshop for AI models."""


def main() -> None:
    """Run the command line; errors that a person can act on are told in a line or two."""
    try:
        armillary(standalone_mode=True)
    except ArmillaryError as error:
        click.secho(f"Error: {error.what}", fg="red", err=True)
        if error.remedy:
            click.echo(error.remedy, err=True)
        sys.exit(1)
