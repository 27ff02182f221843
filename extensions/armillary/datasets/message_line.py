"""A line that says what has become of what a person did, and why not if it could not be done."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from armillary.datasets import balance
from armillary.errors import ArmillaryError


class MessageLine(widgets.HTML):
    """Read out by a screen reader when it changes."""

    def say(self, what: str, remedy: str = "", kind: str = "note") -> None:
        """Say something: a ``"note"``, something that is ``"done"``, or an ``"error"``; nothing where it is empty."""
        role = "alert" if kind == "error" else "status"
        text = escape(what) if kind == "note" else f"<strong>{escape(what)}</strong> {escape(remedy)}"
        self.value = balance.styled(f'<p role="{role}" class="arm-data-{kind}">{text}</p>') if what else ""

    def guard(self, act: Callable[[], Any]) -> None:
        """Do something, and say in words why not if it fails; before that, nothing is said any more."""
        self.say("")
        self.guarded(act)

    def guarded(self, act: Callable[[], Any]) -> None:
        """Do something, or say in words why not; nothing a person does here ends in a silent failure."""
        try:
            act()
        except ArmillaryError as error:
            self.say(error.what, error.remedy, kind="error")
        except Exception as error:  # a function of one's own, or a cluster, can fail in any way
            self.say(f"{type(error).__name__}: {error}", kind="error")
