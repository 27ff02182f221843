"""What is changed and not saved yet: shown, undone, redone, saved as a new version."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset
from armillary.datasets.editing.edits import Edits
from armillary.datasets.message_line import MessageLine

_ = translator(__file__)


class EditsBar(widgets.VBox):
    """A line for the changes of a version, to be put below whatever makes them.

    Parameters
    ----------
    edits
        Of the version; may be shown later by `show`.
    saved
        Called with the new version.
    """

    def __init__(self, edits: Edits | None = None, saved: Callable[[Dataset], None] | None = None) -> None:
        self.edits: Edits | None = None
        self._saved = saved
        self._unheard: Callable[[], None] = lambda: None
        self._summary = widgets.HTML()
        self._message = MessageLine()
        self.undo = widgets.Button(description=_("Undo"), icon="undo", layout={"width": "auto"})
        self.redo = widgets.Button(description=_("Redo"), icon="repeat", layout={"width": "auto"})
        self.name = widgets.Text(
            description=_("Save as"), style={"description_width": "initial"}, layout={"width": "min(240px, 98%)"}
        )
        self.save = widgets.Button(description=_("Save a version"), button_style="primary", layout={"width": "auto"})
        self.undo.on_click(lambda _button: self._guarded(lambda edits: edits.undo()))
        self.redo.on_click(lambda _button: self._guarded(lambda edits: edits.redo()))
        self.save.on_click(lambda _button: self._guarded(self._save))
        line = (self._summary, self.undo, self.redo, self.name, self.save)
        super().__init__((widgets.HBox(line, layout={"flex_flow": "row wrap", "align_items": "center"}), self._message))
        self.add_class("arm-edits")
        self.show(edits)

    def show(self, edits: Edits | None) -> None:
        """Show the changes of another version; nothing for None."""
        self._unheard()
        is_another, self.edits = edits is not self.edits, edits
        self._message.say("")
        if edits is not None:
            self._unheard = edits.on_change(self._draw)
            if is_another:
                self.name.value = edits.dataset.name
            self._draw()
        # Last: a name filled in after the field is seen would mix with what is typed there.
        self.layout.display = None if edits is not None else "none"

    def _draw(self) -> None:
        edits = self.edits
        if edits is None:
            return
        summary = edits.summary
        text = _("{reference}: {changes}", reference=edits.dataset.reference, changes=str(summary))
        self._summary.value = balance.styled(f'<span role="status" class="arm-edits-summary">{escape(text)}</span>')
        self.undo.disabled, self.redo.disabled = not edits.can_undo, not edits.can_redo
        self.save.disabled = not summary

    def _save(self, edits: Edits) -> None:
        self.save.disabled = True
        self._message.say(_("Saving …"))
        try:
            dataset = edits.save(self.name.value.strip() or None)
        finally:
            self._draw()
        self._message.say(_("{reference} is saved.", reference=dataset.reference), kind="done")
        if self._saved is not None:
            self._saved(dataset)

    def _guarded(self, act: Callable[[Edits], Any]) -> None:
        if self.edits is None:
            return
        edits = self.edits
        self._message.guard(lambda: act(edits))
