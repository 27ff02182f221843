"""Showing that workers are on their way: in a notebook a line that changes, elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

from armillary_kernels.texts import translator

from armillary.notebook import in_notebook

_ = translator(__file__)


@contextmanager
def waiting_for_workers() -> Iterator[Callable[[int, int], None]]:
    """Yield the function that shows how many workers have come, of how many; the line goes at the end."""
    line = _Line()
    try:
        yield lambda here, wanted: line.show(
            _("Dask cluster: {here} of {wanted} workers ready …", here=here, wanted=wanted)
        )
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
