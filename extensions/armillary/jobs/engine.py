"""Papermill's nbclient engine, which tells how far a job is and leaves an honest record when it is stopped."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from typing import Any, TextIO

import nbformat
from armillary_kernels.texts import translator
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import jupyter_runtime_dir
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from traitlets import Dict
from traitlets.config import Config

_ = translator(__file__)

NAME = "armillary"

#: A Unix socket's path holds 107 bytes; "-ipc-1" to "-ipc-5" follow the connection file's name.
_LONGEST_CONNECTION_FILE = 100


def _private_connection() -> Config:
    """Kernels talk over Unix sockets, which no other account can read; over TCP only below an overlong home."""
    folder = Path(jupyter_runtime_dir())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"job-{uuid.uuid4().hex[:12]}.json"
    if len(str(file)) > _LONGEST_CONNECTION_FILE:
        return Config()
    return Config(KernelManager={"transport": "ipc", "connection_file": str(file)})


class JobKernelManager(AsyncKernelManager):
    """Starts a job's kernel with the job's own name and wishes for GPUs, which reach the provisioner that way."""

    environment = Dict(config=True, help="Environment variables of the kernel, on top of this process's own.")

    async def _async_pre_start_kernel(self, **options: Any) -> tuple[list[str], dict[str, Any]]:
        """Put the variables into the environment that the kernel is started with."""
        options["env"] = {**os.environ, **options.get("env", {}), **self.environment}
        return await super()._async_pre_start_kernel(**options)

    pre_start_kernel = _async_pre_start_kernel


class JobManager(NotebookExecutionManager):
    """Keeps the output notebook on disk after every cell, and reports progress.

    On a terminal papermill's bar; anywhere else one line per cell, for logs.
    """

    def __init__(self, nb: nbformat.NotebookNode, *, progress: TextIO | None = None, **options: Any) -> None:
        terminal = progress is not None and progress.isatty()
        super().__init__(nb, progress_bar={"file": progress, "leave": False} if terminal else False, **options)
        self.lines = None if terminal else progress
        self.cells = [cell for cell in nb.cells if cell.cell_type == "code"]

    def cell_complete(self, cell: nbformat.NotebookNode, cell_index: int | None = None, **kwargs: Any) -> None:
        """Save, and say that the cell is done. Called while an exception passes through, too."""
        passing = sys.exc_info()[1]
        if passing is not None:
            self.cell_exception(cell, cell_index=cell_index, exception=passing)
        super().cell_complete(cell, cell_index=cell_index, **kwargs)
        if self.lines is not None and cell.cell_type == "code":
            number = next(n for n, known in enumerate(self.cells, 1) if known is cell)
            done = cell.metadata.papermill
            status = {self.COMPLETED: _("completed"), self.FAILED: _("failed")}.get(done.status, done.status)
            print(f"[{number}/{len(self.cells)}] {status}, {done.duration:.1f} s", file=self.lines, flush=True)

    def notebook_complete(self, **kwargs: Any) -> None:
        """Save; cells that never ran stay "pending" (papermill would call them completed)."""
        unrun = [cell for cell in self.cells if cell.metadata.papermill["status"] == self.PENDING]
        super().notebook_complete(**kwargs)
        for cell in unrun:
            cell.metadata.papermill["status"] = self.PENDING
        self.save()


class JobEngine(NBClientEngine):
    """Runs a notebook as papermill does, with `JobManager` keeping the record."""

    @classmethod
    def execute_notebook(
        cls,
        nb: nbformat.NotebookNode,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: object = False,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        **options: Any,
    ) -> nbformat.NotebookNode:
        """Execute a notebook.

        `options` may hold ``progress``, the stream to report on, and ``environment``, the kernel's further variables.
        """
        config = _private_connection()
        config.NotebookClient.kernel_manager_class = JobKernelManager
        config.JobKernelManager.environment = options.pop("environment", {})
        manager = JobManager(
            nb,
            progress=options.pop("progress", None),
            output_path=output_path,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
        )
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, config=config, **options)
        finally:
            manager.cleanup_pbar()
            manager.notebook_complete()
        return manager.nb


papermill_engines.register(NAME, JobEngine)
