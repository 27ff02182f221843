"""Showing that workers are on their way: in a notebook a line that changes, elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

from armillary_kernels.texts import translator

from armillary.clusters.gpu_queue import GpuQueue
from armillary.notebook import in_notebook

_ = translator(__file__)


@dataclass(frozen=True)
class Arrival:
    """How many workers have come, of how many, where those stand that wait for GPUs, and why one was refused any."""

    here: int
    wanted: int
    queue: GpuQueue | None = None
    refusal: str = ""

    def __str__(self) -> str:
        """Say it in a person's words."""
        ready = _("Dask cluster: {here} of {wanted} workers ready …", here=self.here, wanted=self.wanted)
        return " ".join(filter(None, (ready, str(self.queue or ""), self.refusal)))


Report = Callable[[Arrival], None]


@contextmanager
def waiting_for_workers() -> Iterator[Report]:
    """Yield the function that shows how many workers have come; the line goes at the end."""
    line = _Line()
    try:
        yield lambda arrival: line.show(str(arrival))
    finally:
        line.clear()


class _Line:
    def __init__(self) -> None:
        self._handle = None

    def show(self, text: str) -> None:
        """Show a text, in place of the one before."""
        if not in_notebook():
            return
        from IPython.display import display

        content = {"text/plain": text, "text/html": f'<div role="status">{escape(text)}</div>'}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)
