"""Work that a panel does in a thread: a button starts it, another cancels it, a bar shows how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.message_line import MessageLine

_ = translator(__file__)

#: Told how much of how much is done.
Progress = Callable[[int, int], None]


class _Cancelled(Exception):  # noqa: N818 (no error: a person's wish)
    """The person does not want it any more."""


class LongWork:
    """The widgets of such work, to be placed by the panel whose work it is.

    Parameters
    ----------
    title
        Of the button that starts it.
    doing, cancelled
        What is said while it is done, and when it was cancelled.
    changed
        Called when it begins and when it has ended.
    message
        Where it is said what became of it, if the panel has a line for that.

    Attributes
    ----------
    start, cancel, progress, message
        The widgets; what ``start`` does is the panel's.
    wish
        Set when the person wants it cancelled.
    """

    def __init__(
        self,
        title: str,
        doing: str,
        cancelled: str,
        changed: Callable[[], None],
        message: MessageLine | None = None,
    ) -> None:
        self._usual, self._when_cancelled, self._changed = doing, cancelled, changed
        self._doing, self.message = doing, message or MessageLine()
        self._thread: threading.Thread | None = None
        self.wish = threading.Event()
        self.is_busy = False
        self.start = widgets.Button(description=title, button_style="primary", icon="play")
        self.cancel = widgets.Button(description=_("Cancel"), disabled=True, layout={"width": "auto"})
        self.cancel.on_click(lambda _button: self.wish.set())
        self.progress = widgets.HTML()

    def begin(self, action: Callable[[Progress], None], doing: str = "") -> None:
        """Do it in a thread, so that Cancel is heard; ``action`` is given what to tell its progress.

        Parameters
        ----------
        action
            The work.
        doing
            What is said while it is done, where that is not the usual work.
        """
        self._doing = doing or self._usual
        self.wish.clear()
        self.say("")
        self._set_busy(True)
        self._thread = threading.Thread(target=self._run, args=(action,), name="armillary-panel", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or so many seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, action: Callable[[Progress], None]) -> None:
        try:
            self.guarded(lambda: self._do(action))
        finally:
            self.progress.value = ""
            self._set_busy(False)

    def _do(self, action: Callable[[Progress], None]) -> None:
        self._advance(0, 1)
        try:
            action(self._advance)
        except _Cancelled:
            self.say(self._when_cancelled, kind="done")

    def _advance(self, done: int, total: int) -> None:
        if self.wish.is_set():
            raise _Cancelled
        percent = 100 * done // max(1, total)
        bar = f'<label>{escape(self._doing)} <progress max="100" value="{percent}"></progress></label> {percent} %'
        self.progress.value = balance.styled(f"<p>{bar}</p>")

    def _set_busy(self, busy: bool) -> None:
        self.is_busy = busy
        self.start.disabled, self.cancel.disabled = busy, not busy
        self._changed()

    def guarded(self, action: Callable[[], Any]) -> None:
        """Do something, or say in words why not."""
        self.message.guarded(action)

    def say(self, what: str, remedy: str = "", kind: str = "note") -> None:
        """Say something, as `MessageLine.say` does."""
        self.message.say(what, remedy, kind)
