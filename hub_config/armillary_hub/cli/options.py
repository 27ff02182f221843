"""Options that several commands share, and how a command finds its deployment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from armillary_kernels.errors import ArmillaryError

from armillary_hub.settings import Settings, default_home


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--home``, the deployment's folder."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, readable=False, path_type=Path),
        default=default_home,
        show_default="$ARMILLARY_HOME, else /var/lib/armillary for root and ~/.armillary for others",
        help="The folder that holds the deployment's state.",
    )(command)


def deployment_in(home: Path) -> Settings:
    """Return the settings of the deployment in ``home``.

    Raises
    ------
    ArmillaryError
        If there is none, or it is another account's.
    """
    home = home.absolute()
    settings = Settings.load(home)
    if os.geteuid() not in (0, home.stat().st_uid):
        raise ArmillaryError(
            f"The deployment in {home} belongs to another account.", "Act as that account, or use sudo."
        )
    return settings
