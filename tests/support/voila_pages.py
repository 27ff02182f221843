"""A standalone Voilà that shows notebooks of a folder, with a kernel for each page opened."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import nbformat

from support.ports import free_port


@contextlib.contextmanager
def voila_pages(folder: Path, notebooks: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Serve notebooks of one cell each; yields their addresses by name."""
    for name, code in notebooks.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(notebook, folder / f"{name}.ipynb")
    port = free_port()
    command = [sys.executable, "-m", "voila", folder, "--no-browser", f"--port={port}", "--Voila.port_retries=0"]
    with (folder / "voila.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
        try:
            _wait_until_it_listens(port, server)
            yield {name: f"http://127.0.0.1:{port}/voila/render/{name}.ipynb" for name in notebooks}
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/static/none", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Voilà did not start")
