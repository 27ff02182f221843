"""Imports run one way between the rooms, and nothing heavy is loaded before it is needed."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "armillary_kernels": ROOT / "kernels/armillary_kernels",
    "armillary_hub": ROOT / "hub_config/armillary_hub",
    "armillary": ROOT / "extensions/armillary",
}
FORBIDDEN = {
    "armillary_kernels": {"armillary", "armillary_hub", "torch", "tensorflow", "keras"},
    "armillary_hub": {"armillary", "torch", "tensorflow", "keras"},
    "armillary": {"armillary_hub"},
}
HEAVY = {
    *("torch", "torchvision", "tensorflow", "keras", "mlflow", "papermill", "onnxruntime", "jupyterhub"),
    *("pandas", "pyarrow", "dask", "distributed"),
}


def imported_packages(module):
    """Yield the top-level packages a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", FOLDERS)
def test_imports_run_one_way(package):
    found = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in FOLDERS[package].rglob("*.py")
        for name in imported_packages(module)
        if name in FORBIDDEN[package]
    }
    assert not found


def loaded_by(statement):
    """Return the heavy packages that a fresh interpreter has loaded after a statement."""
    script = (
        f"import sys\ntry:\n    {statement}\nexcept SystemExit: pass\nprint('loaded', *sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(re.search(r"^loaded (.*)", answer.stderr, re.MULTILINE)[1].split()) & HEAVY


def test_import_armillary_loads_nothing_heavy():
    assert not loaded_by("import armillary")


def test_the_help_of_the_command_loads_nothing_heavy():
    statement = "sys.argv[1:] = ['--help']; import armillary_hub.cli; armillary_hub.cli.main()"
    assert not loaded_by(statement) - {"jupyterhub"}


def test_the_help_of_run_loads_nothing_heavy():
    assert not loaded_by("sys.argv[1:] = ['--help']; from armillary.jobs.command import run; run()")


@pytest.mark.parametrize("page", ["image_page", "table_page"])
def test_an_apps_page_loads_nothing_heavy_into_each_visitors_kernel(page):
    assert not loaded_by(f"import armillary.inference.{page}")


def test_every_room_of_armillary_is_found():
    import armillary

    for room in armillary.__all__:
        assert getattr(armillary, room) is not None
    with pytest.raises(AttributeError, match="module 'armillary' has no attribute 'nonsense'"):
        _ = armillary.nonsense
