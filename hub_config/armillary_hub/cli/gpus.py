"""``armillary gpus``: who holds each GPU, and who waits; in a person's own shell, or for a whole deployment."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx
from armillary_kernels.connection import Connection
from armillary_kernels.errors import ArmillaryError
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from armillary_hub.cli.durations import ago, duration
from armillary_hub.cli.options import deployment_in, home_option
from armillary_hub.settings import Settings

#: Seconds between two looks with ``--watch``.
_PERIOD = 2.0

_PATIENCE = 10.0


@click.command(help="Show who holds each GPU, and who waits for one.")
@home_option
@click.option("--watch", is_flag=True, help=f"Look again every {_PERIOD:g} seconds, until Ctrl-C.")
def gpus(home: Path, watch: bool) -> None:
    """Print the pool's books: as the person whose shell it is, else as the deployment in ``home``."""
    connection = Connection.from_environment()
    own = partial(books, connection.pool_url, connection.token) if connection else None
    read = own or partial(own_books, deployment_in(home))
    if not watch:
        Console().print(tables(read()))
        return
    # Waited for, Ctrl-C is never lost, as its exception is where it comes in the middle of a finaliser.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with Live(tables(read()), auto_refresh=False) as live:
        while not signal.sigtimedwait({signal.SIGINT}, _PERIOD):
            live.update(_latest(read), refresh=True)


def _latest(read: Callable[[], dict[str, Any]]) -> Group | str:
    """Return the books, or why there are none now: a pool that is started again is back in seconds."""
    try:
        return tables(read())
    except ArmillaryError as error:
        return str(error)


def own_books(settings: Settings) -> dict[str, Any]:
    """Return the books of a deployment, asked for by itself; see `books`."""
    return books(settings.direct_url("gpu-pool"), settings.secret("operator"))


def books(url: str, token: str) -> dict[str, Any]:
    """Return the pool's devices, leases and queue.

    Raises
    ------
    ArmillaryError
        If the pool does not answer.
    """
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    try:
        answer = httpx.get(f"{url}/", headers=headers, timeout=_PATIENCE, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise ArmillaryError(
            f"The GPU pool does not answer: {error}.", "See `armillary status`; a program that died is started again."
        ) from None
    state: dict[str, Any] = answer.json()
    return state


def tables(state: dict[str, Any]) -> Group | str:
    """Return the books as tables for a terminal."""
    if not state["devices"]:
        return "No GPUs."
    suspended = [lease for lease in state["leases"] if lease["state"] == "suspended"]
    return Group(
        _gpus(state),
        *([f"NVIDIA driver {state['driver']}"] if state.get("driver") else []),
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
            table.add_row(str(gpu["index"]), gpu["name"], condition, *holder)
    return table


def _condition(lease: dict[str, Any] | None) -> str:
    if lease is None:
        return "free"
    return str(lease["step"]) or ("idle" if lease["idle_since"] else "in use")


def _unleased(use: dict[str, Any]) -> str:
    account, gpu = use["user"] or "unknown", "?" if use["device"] is None else use["device"]
    return f"Process {use['pid']} of {account} on GPU {gpu}: {use['reason']}."


def _waiting(title: str, leases: list[dict[str, Any]]) -> Table:
    table = Table("", "Who", "For", "GPUs", "Since", "Waits for", "About", title=title)
    for lease in leases:
        place, about = lease.get("position", ""), lease.get("estimate")
        since = lease["since"] if place else lease.get("suspended_since", lease["since"])
        table.add_row(
            *(str(place), lease["user"], _what(lease), _amount(lease), ago(since)),
            *(lease.get("waits_for", ""), "" if about is None else duration(about)),
        )
    return table


def _amount(lease: dict[str, Any]) -> str:
    return str(lease["wanted"]) if lease["memory"] is None else f"{lease['memory'] / 1024:g} GiB"


def _what(lease: dict[str, Any]) -> str:
    return f"{lease['purpose']} · {lease['label']}" if lease["label"] else str(lease["purpose"])
