"""What became of a job."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from armillary_kernels.texts import translator

from armillary.errors import JobError

if TYPE_CHECKING:
    import nbformat

_ = translator(__file__)

Status = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True)
class JobFailure:
    """Why a job failed.

    Attributes
    ----------
    cell
        The number of the code cell that failed, counted from 1 over the notebook's code cells; 0 if no cell did
        (the kernel did not start, or died).
    name, message
        The exception's, as Python prints them.
    traceback
        The last lines of its traceback, without colours.
    """

    cell: int
    name: str
    message: str
    traceback: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


@dataclass(frozen=True)
class JobResult:
    """One execution of a notebook.

    Attributes
    ----------
    notebook, output
        The notebook that was asked for, and the executed copy, kept whatever happened.
    parameters
        The values given.
    status
        ``"finished"``, ``"failed"`` or ``"stopped"`` (by Ctrl-C or SIGTERM).
    cells_run, cells
        Code cells that ran to their end, and code cells in all.
    seconds
        How long it took, kernel start included.
    values
        What the notebook's cells tagged ``result`` showed: Python dicts, merged in order.
    """

    notebook: Path
    output: Path
    parameters: Mapping[str, object]
    status: Status
    cells_run: int
    cells: int
    seconds: float
    values: Mapping[str, object] = field(default_factory=dict)
    failure: JobFailure | None = None

    def raise_for_failure(self) -> JobResult:
        """Return the result itself, or raise a `JobError` if the job didn't finish."""
        if self.status == "finished":
            return self
        raise JobError(self._unfinished(), _("Everything up to there is in {path}.", path=self.output))

    def _unfinished(self) -> str:
        """Return in a sentence how the job ended."""
        if self.status == "stopped" or self.failure is None:
            return _("{notebook} stopped.", notebook=self.notebook.name)
        if not self.failure.cell:
            return _("{notebook} failed: {failure}.", notebook=self.notebook.name, failure=self.failure)
        return _(
            "cell {number} of {notebook} failed: {failure}.",
            number=self.failure.cell,
            notebook=self.notebook.name,
            failure=self.failure,
        )


class JobStopped(KeyboardInterrupt):
    """A job was stopped from outside; ``result`` says how far it came."""

    def __init__(self, result: JobResult) -> None:
        super().__init__(_("{notebook} was stopped.", notebook=result.notebook.name))
        self.result = result


def values_shown(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """Return what the cells tagged ``result`` showed, as far as it is a Python dict literal with text keys."""
    values: dict[str, object] = {}
    for cell in notebook.cells:
        if "result" not in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            values.update(_dict_literal(output.get("data", {}).get("text/plain", "")))
    return values


def _dict_literal(text: str) -> dict[str, object]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {}
    return {key: item for key, item in value.items() if isinstance(key, str)} if isinstance(value, dict) else {}
