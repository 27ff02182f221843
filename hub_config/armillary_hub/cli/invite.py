"""``armillary invite``: a new link for a person whose link has expired, or who forgot the password."""

from __future__ import annotations

from pathlib import Path

import click
import httpx
from armillary_kernels.errors import ArmillaryError

from armillary_hub.accounts.invitations import LIFETIME, opens, recovery_link
from armillary_hub.accounts.names import require_person_name
from armillary_hub.cli.options import deployment_in, home_option
from armillary_hub.settings import Settings

_PATIENCE = 10.0


@click.command(
    help="Print a new link by which the person NAME sets a password, the only admin too; links given before end."
)
@home_option
@click.argument("name")
def invite(home: Path, name: str) -> None:
    """Print a link that works, for a person of the running deployment in ``home``."""
    settings = deployment_in(home)
    require_person_name(name)
    try:
        _require_person(settings, name)
        link = recovery_link(settings, name)
        if not opens(settings, link):
            raise ArmillaryError(
                "People of this deployment sign in elsewhere, without passwords of its own.",
                "Passwords are reset where they sign in.",
            )
    except httpx.HTTPError as error:
        raise ArmillaryError(f"The hub in {settings.home} does not answer.", "Start it with `armillary up`.") from error
    click.echo(f"By this link, {name} sets a new password, once, within {LIFETIME.days} days:\n\n    {link}\n")
    click.echo("From another machine, put this one's name in place of the link's. The old password works until then.")


def _require_person(settings: Settings, name: str) -> None:
    headers = {"Authorization": f"Bearer {settings.secret('operator')}"}
    answer = httpx.get(f"{settings.hub_api_url}/users/{name}", headers=headers, timeout=_PATIENCE, trust_env=False)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise ArmillaryError(f"There is no person called {name!r}.", "Admins add people on the hub's People page.")
    answer.raise_for_status()
