"""The command line as a whole."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from armillary_hub.cli import status
from armillary_hub.settings import Settings
from armillary_hub.supervision.programs import Program
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.asgi import running

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
