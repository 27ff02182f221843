"""How a run's progress is shown while someone waits for it: curves in a notebook, a line per epoch in a script."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from armillary.notebook import in_notebook
from armillary.training.run import ENDED, Run


@contextmanager
def following(run: Run) -> Iterator[None]:
    """Show a run's progress while the body waits for it; what is shown last stays."""
    if in_notebook():
        with _following_in_notebook(run):
            yield
        return
    lines = EpochLines(run)
    stop = run.listen(lines.write_new)
    try:
        lines.write_new()
        yield
    finally:
        stop()
        lines.write_new()


@contextmanager
def _following_in_notebook(run: Run) -> Iterator[None]:
    """Show the live view, and put a picture that needs no kernel in its place at the end."""
    from IPython.display import HTML, display

    from armillary.training.run_page import static_page
    from armillary.training.run_view import RunView

    view = RunView(run)
    handle: Any = display(view, display_id=True)
    try:
        yield
    finally:
        # After an interrupt the run goes on, and so does its view.
        if run.status in ENDED:
            handle.update(HTML(static_page(run)))


def show(run: Run) -> None:
    """Show a run in a notebook: live while it goes on, as a picture afterwards; as text anywhere else."""
    if not in_notebook():
        sys.stdout.write(f"{run!r}\n")
        return
    from IPython.display import HTML, display

    from armillary.training.run_page import static_page
    from armillary.training.run_view import RunView

    display(HTML(static_page(run)) if run.status in ENDED else RunView(run))


class EpochLines:
    """Writes one line for each epoch that has ended, and no more.

    Parameters
    ----------
    run
        The run to follow.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.written = 0
        self._writing = threading.Lock()

    def write_new(self) -> None:
        """Write the epochs that have ended since the last call."""
        with self._writing:
            for row in self.run.epoch_rows[self.written :]:
                sys.stdout.write(epoch_line(row, self.run.plan.epochs) + "\n")
                self.written += 1
            sys.stdout.flush()


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """Return one epoch in one line."""
    line = f"epoch {int(row['epoch'])}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.1%}"
    if row.get("validation_loss") is not None:
        line += f"  validation loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:.1%}"
    return f"{line}  {row['examples_per_second']:,.0f} examples/s"
