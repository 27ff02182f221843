"""``armillary up``: start the deployment and serve until it is told to stop."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import replace
from pathlib import Path

import click
import httpx
from armillary_kernels.errors import ArmillaryError

from armillary_hub.checks import require_startable
from armillary_hub.cli.options import home_option
from armillary_hub.settings import Mode, NoDeployment, Settings
from armillary_hub.supervision.lifecycle import deployment_lock, run


@click.command(help="Start the deployment and serve until Ctrl-C, which stops everything, people's servers included.")
@home_option
@click.option("--port", type=click.IntRange(1, 65526), help="The public port; the nine after it are used too. [8000]")
@click.option("--host", help="The address to serve; other than loopback in team mode only. [127.0.0.1]")
@click.option("--mode", type=click.Choice(["solo", "team"]), help="Default: team for root, solo for anyone else.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="JupyterHub's configuration file. [<home>/config/jupyterhub_config.py]",
)
@click.option("--simulate-gpus", type=click.IntRange(0, 64), help="Pretend GPUs where there is no real one. [0]")
def up(
    home: Path, port: int | None, host: str | None, mode: Mode | None, config: str | None, simulate_gpus: int | None
) -> None:
    """Start the deployment in ``home``; what is not given is as at the last start."""
    settings = decide_settings(
        home.absolute(), port=port, host=host, mode=mode, config=config, simulate_gpus=simulate_gpus
    )
    _require_account(settings)
    settings.make_folders()
    with deployment_lock(settings):
        require_startable(settings)
        run(settings, click.echo, lambda: click.echo(greeting(settings)))
    click.echo("Stopped. Nothing of the deployment runs any more.")


def decide_settings(home: Path, **given: object) -> Settings:
    """Return the settings: what is given, else what the last start had, else the defaults."""
    default_mode: Mode = "team" if os.geteuid() == 0 else "solo"
    try:
        before: Settings | None = Settings.load(home)
    except NoDeployment:
        before = None
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = replace(before or Settings(home, mode=default_mode), **chosen)  # type: ignore[arg-type]
    if before and settings.mode != before.mode:
        raise ArmillaryError(
            f"The deployment in {home} is in {before.mode} mode.", "Choose another --home, or leave --mode out."
        )
    return settings


def _require_account(settings: Settings) -> None:
    is_root = os.geteuid() == 0
    if settings.mode == "team" and not is_root:
        raise ArmillaryError(
            "Team mode gives each person a Unix account, and this account may not make any.",
            "Run `armillary up` as root (sudo), or use --mode solo.",
        )
    if settings.mode == "solo" and is_root:
        raise ArmillaryError(
            "In solo mode everybody's notebooks would run as root.",
            "Run `armillary up` as an ordinary account, or use --mode team.",
        )
    if settings.mode == "solo" and settings.host not in ("127.0.0.1", "::1", "localhost"):
        raise ArmillaryError(
            f"Solo mode serves loopback only, not {settings.host}: everybody who signs in acts as this account.",
            "Leave --host out, or run team mode as root.",
        )


def greeting(settings: Settings) -> str:
    """Return the address, how to sign in, and what the mode means."""
    lines = ["", f"Armillary answers at {settings.public_url}", _sign_in(settings)]
    if settings.mode == "solo":
        name = pwd.getpwuid(os.geteuid()).pw_name
        lines.append(f"Solo mode: it serves this machine only (loopback), and everybody's notebooks run as {name!r}.")
    if settings.simulate_gpus:
        lines.append(f"It pretends to have {settings.simulate_gpus} GPUs.")
    lines += [f"State and logs are in {settings.home}.", "Ctrl-C stops everything, people's servers included.", ""]
    return "\n".join(lines)


def _sign_in(settings: Settings) -> str:
    from armillary_hub.accounts.invitations import first_admin_link, opens

    link = first_admin_link(settings)
    if link is None:
        return "Sign in with your name and password."
    with contextlib.suppress(httpx.HTTPError):  # the hub is too busy to say: most have the page
        if not opens(settings, link):
            return "Sign in there as the hub's configuration says."
    return f"Set up the first admin by opening this link once:\n\n    {link}\n"
