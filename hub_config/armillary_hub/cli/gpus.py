"""``armillary gpus``: who holds each GPU, and who waits; in a person's own shell, or for a whole deployment."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from armillary_kernels.connection import Connection
from armillary_kernels.errors import ArmillaryError
from armillary_kernels.lease_client import LeaseClient
from armillary_kernels.leases import LeaseRefusedError, PoolFaultError, PoolUnreachableError
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from armillary_hub.cli.durations import ago, duration
from armillary_hub.cli.options import deployment_in, home_option
from armillary_hub.cli.plain_text import plain
from armillary_hub.settings import Settings

#: Seconds between two looks with ``--watch``.
_PERIOD = 2.0

#: The deployment's own token, among its secrets.
_OPERATOR = "operator"


@click.command(help="Show who holds each GPU, and who waits for one.")
@home_option
@click.option("--watch", is_flag=True, help=f"Look again every {_PERIOD:g} seconds, until Ctrl-C.")
def gpus(home: Path, watch: bool) -> None:
    """Print the pool's books: as the person whose shell it is, else as the deployment in ``home``."""
    connection = Connection.from_environment()
    look = partial(books, connection) if connection else partial(own_books, deployment_in(home))
    if not watch:
        Console().print(look())
        return
    # Waited for, Ctrl-C is never lost, as its exception is where it comes in the middle of a finaliser.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with Live(look(), auto_refresh=False) as live:
        while not signal.sigtimedwait({signal.SIGINT}, _PERIOD):
            live.update(_latest(look), refresh=True)


def _latest(look: Callable[[], Group | str]) -> Group | Text | str:
    """Return the books, or why there are none now: a pool that is started again is back in seconds."""
    try:
        return look()
    except ArmillaryError as error:
        return plain(str(error))


def own_books(settings: Settings) -> Group | str:
    """Return the books of a deployment, asked for by itself, as tables for a terminal.

    Raises
    ------
    ArmillaryError
        If the pool does not answer, or says that it cannot.
    """
    unknown = dict.fromkeys(("user", "hub_api_url", "gateway_url", "apps_url", "tracking_url"), "")
    own = {"public_url": settings.public_url, "pool_url": settings.direct_url("gpu-pool")}
    try:
        return books(Connection(token=settings.secret(_OPERATOR), **own, **unknown))
    except PoolFaultError:
        raise
    except PoolUnreachableError as error:
        remedy = (
            f"See `armillary status` and the logs in {settings.logs_dir}; after an upgrade use `armillary restart`."
        )
        raise ArmillaryError(error.what, remedy) from None
    except LeaseRefusedError as error:
        token = settings.secrets_dir / _OPERATOR
        raise ArmillaryError(error.what, f"The token is in {token}; `armillary restart` tells the hub of it.") from None


def books(connection: Connection) -> Group | str:
    """Return the pool's devices, leases and queue as tables for a terminal.

    Raises
    ------
    LeaseError
        If the pool does not answer, or says that it cannot.
    """
    with LeaseClient(connection) as pool:
        return pool.state(tables)


def tables(state: dict[str, Any]) -> Group | str:
    """Return the books, as the pool tells them, as tables for a terminal."""
    if not state["devices"]:
        return "No GPUs."
    suspended = [lease for lease in state["leases"] if lease["state"] == "suspended"]
    return Group(
        _gpus(state),
        *([plain(f"NVIDIA driver {state['driver']}")] if state.get("driver") else []),
        *([_waiting("Suspended", suspended)] if suspended else []),
        *([_waiting("Queue", state["queue"])] if state["queue"] else ["Nobody waits."]),
        *(_unleased(use) for use in state["unleased"]),
    )


def _gpus(state: dict[str, Any]) -> Table:
    table = Table("GPU", "Model", "State", "Held by", "For", "Since")
    leases = {lease["id"]: lease for lease in state["leases"]}
    for gpu in state["devices"]:
        for lease in [leases.get(held) for held in gpu["leases"]] or [None]:
            condition = _condition(lease)
            if gpu["state"] != "working":
                condition = f"{gpu['state']}: {gpu['trouble']}"
            holder = (lease["user"], _what(lease), ago(lease["since"])) if lease else ("", "", "")
            table.add_row(*map(plain, (str(gpu["index"]), gpu["name"], condition, *holder)))
    return table


def _condition(lease: dict[str, Any] | None) -> str:
    if lease is None:
        return "free"
    return str(lease["step"]) or ("idle" if lease["idle_since"] else "in use")


def _unleased(use: dict[str, Any]) -> Text:
    account, gpu = use["user"] or "unknown", "?" if use["device"] is None else use["device"]
    return plain(f"Process {use['pid']} of {account} on GPU {gpu}: {use['reason']}.")


def _waiting(title: str, leases: list[dict[str, Any]]) -> Table:
    table = Table("", "Who", "For", "GPUs", "Since", "Waits for", "About", title=title)
    for lease in leases:
        place, about = lease.get("position", ""), lease.get("estimate")
        since = lease["since"] if place else lease.get("suspended_since", lease["since"])
        cells = (str(place), lease["user"], _what(lease), _amount(lease), ago(since))
        table.add_row(*map(plain, (*cells, lease.get("waits_for", ""), "" if about is None else duration(about))))
    return table


def _amount(lease: dict[str, Any]) -> str:
    return str(lease["wanted"]) if lease["memory"] is None else f"{lease['memory'] / 1024:g} GiB"


def _what(lease: dict[str, Any]) -> str:
    return f"{lease['purpose']} · {lease['label']}" if lease["label"] else str(lease["purpose"])
