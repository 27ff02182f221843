"""The command line as a whole."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from armillary_hub.cli import status
from armillary_hub.cli.gpus import books, own_books
from armillary_hub.cli.status import people_table
from armillary_hub.settings import Settings
from armillary_hub.supervision.programs import Program
from armillary_kernels.errors import ArmillaryError
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.asgi import running
from support.strange_pool import StrangePool

_HEAVY = ("torch", "tensorflow", "pandas", "nbformat", "jupyterhub", "mlflow")
_HELP = f"""
import sys
from armillary_hub.cli import armillary
armillary(["--help"], standalone_mode=False)
print("loaded:", [name for name in {_HEAVY!r} if name in sys.modules])
"""


def test_help_lists_every_rooms_commands_and_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True)
    for command in ("up", "down", "restart", "status", "gpus", "invite", "doctor", "run"):
        assert f"  {command} " in done.stdout
    assert "loaded: []" in done.stdout


def test_status_gives_a_busy_program_time_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(_request: Request) -> Response:
        await asyncio.sleep(3)
        return Response()

    known = {"busy": {"statename": "RUNNING", "pid": 1}}
    with running(Starlette(routes=[Route("/", late)])) as port:
        busy = Program("busy", "Busy", (), health=f"http://127.0.0.1:{port}/")
        monkeypatch.setattr(status, "programs", lambda _settings: [busy])
        monkeypatch.setattr(status, "Supervisor", lambda _settings: SimpleNamespace(processes=lambda: known))
        assert [row[2] for row in status.program_rows(Settings(tmp_path))] == ["running"]


FULL = {"error": {"what": "The disk is full.", "remedy": "Free some space."}}
REFUSED = {"error": {"what": "The token is not valid.", "remedy": "Send `Authorization: Bearer <token>`."}}


@pytest.mark.parametrize(
    ("status", "answer", "own", "deployments"),
    [
        (503, FULL, "The disk is full. Free some space.", "The disk is full. Free some space."),
        (
            401,
            REFUSED,
            "The token is not valid. Check JUPYTERHUB_API_TOKEN. A server that is started anew has a new token.",
            "The token is not valid. The token is in {home}/secrets/operator; `armillary restart` tells the hub of it.",
        ),
        (
            200,
            {"devices": [{}]},
            "{url}/ is not a GPU pool: it answers 200. Check ARMILLARY_POOL_URL.",
            "{url}/ is not a GPU pool: it answers 200. See `armillary status` and the logs in {home}/logs; after an "
            "upgrade use `armillary restart`.",
        ),
    ],
)
def test_gpus_says_what_the_pool_said_and_what_to_do(tmp_path, monkeypatch, status, answer, own, deployments) -> None:
    settings = Settings(tmp_path)
    settings.make_folders()
    with StrangePool(status, json.dumps(answer)) as pool:
        monkeypatch.setattr(Settings, "direct_url", lambda _settings, _service: pool.url)
        with pytest.raises(ArmillaryError) as told:
            books(pool.connection("ann"))
        assert str(told.value) == own.format(url=pool.url)
        with pytest.raises(ArmillaryError) as told:
            own_books(settings)
        assert str(told.value) == deployments.format(url=pool.url, home=tmp_path)


def test_status_shows_a_persons_name_as_it_is(tmp_path: Path, monkeypatch) -> None:
    settings = Settings(tmp_path)
    settings.make_folders()
    with StrangePool(200, json.dumps([{"name": "[/x]"}])) as hub:
        monkeypatch.setattr(Settings, "hub_api_url", hub.url)
        told = Console(record=True)
        told.print(people_table(settings))
    assert "[/x]" in told.export_text()
