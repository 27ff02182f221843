"""How a run's progress is shown while someone waits for it: curves in a notebook, a line per epoch in a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from armillary.training.run import Run


def in_notebook() -> bool:
    """Tell whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def following(run: Run) -> Iterator[None]:
    """Show a run's progress while the body waits for it."""
    lines = EpochLines(run)
    stop = run.listen(lines.write_new)
    try:
        lines.write_new()
        yield
    finally:
        stop()
        lines.write_new()


def show(run: Run) -> None:
    """Show a run in a notebook."""
    sys.stdout.write(repr(run) + "\n")


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

    def write_new(self) -> None:
        """Write the epochs that have ended since the last call."""
        epochs = self.run.epochs
        for _, row in epochs.iloc[self.written :].iterrows():
            sys.stdout.write(epoch_line(row.to_dict(), self.run.plan.epochs) + "\n")
        self.written = len(epochs)
        sys.stdout.flush()


def epoch_line(row: dict[str, float], epochs: int) -> str:
    """Return one epoch in one line."""
    line = f"epoch {int(row['epoch'])}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.1%}"
    if row.get("validation_loss") is not None:
        line += f"  validation loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:.1%}"
    return f"{line}  {row['examples_per_second']:,.0f} examples/s"
