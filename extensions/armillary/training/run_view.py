"""The live view of a run in a notebook: curves, progress with time left, Cancel."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from armillary_kernels.texts import translator

from armillary.esm import in_place
from armillary.training import run_page
from armillary.training.run import ENDED, Run

_ = translator(__file__)

#: At most this often the view changes, seconds.
PERIOD = 0.4


class RunView(anywidget.AnyWidget):
    """Shows a run while it goes on.

    Parameters
    ----------
    run
        The run.
    """

    _esm = in_place(Path(__file__).parent / "static" / "run_view.js")
    head = traitlets.Unicode().tag(sync=True)
    line = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)
    plots = traitlets.Unicode().tag(sync=True)
    logs = traitlets.Unicode().tag(sync=True)
    style = traitlets.Unicode(run_page.STYLE).tag(sync=True)
    cancel_text = traitlets.Unicode().tag(sync=True)
    spoken = traitlets.Unicode().tag(sync=True)
    ended = traitlets.Bool(False).tag(sync=True)
    cancelling = traitlets.Bool(False).tag(sync=True)

    def __init__(self, run: Run) -> None:
        super().__init__(cancel_text=_("Cancel"))
        self.run = run
        self._stale = threading.Event()
        self._stop = run.listen(self._stale.set)
        self.on_msg(self._message)
        self.refresh()
        if not self.ended:
            threading.Thread(target=self._follow, name=f"show {run.id}", daemon=True).start()

    def refresh(self) -> None:
        """Show the run as it is now."""
        progress = self.run.progress
        with self.hold_sync():
            for part, html in run_page.parts(self.run).items():
                self.set_trait(part, html)
            self.ended = progress.status in ENDED
            self.cancelling = self.run.cancel_requested
            self.spoken = self._in_words()
        self._hear_in_subshell()

    def _hear_in_subshell(self) -> None:
        """Let Cancel be heard while the cell that waits for the run is busy.

        JupyterLab sends widgets' messages to a subshell of the kernel, but ipykernel hands them to the loop that spoke
        last on their comm, the busy one; forgetting who spoke leaves them where JupyterLab sent them.
        """
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def _in_words(self) -> str:
        """Return what a screen reader says: once an epoch, and at the end."""
        progress = self.run.progress
        if progress.status != "running":
            return run_page.status_word(progress.status)
        return _("Epoch {epoch} of {epochs}", epoch=progress.epoch, epochs=progress.epochs)

    def _follow(self) -> None:
        """Refresh after changes, from a thread of its own, until the run has ended."""
        while not self.ended:
            self._stale.wait(1.0)
            self._stale.clear()
            self.refresh()
            time.sleep(PERIOD)
        self._stop()

    def _message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if content.get("action") == "cancel":
            self.run.cancel()
            self.cancelling = True
