"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

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
