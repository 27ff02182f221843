"""The panel that checks a version: what was found is gone through, and what is accepted goes into its edits."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.checking.check_view import CheckView
from armillary.datasets.checking.checker import check
from armillary.datasets.checking.report import CheckReport
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.editing.edits import edit
from armillary.datasets.editing.edits_bar import EditsBar
from armillary.datasets.long_work import LongWork, Progress

_ = translator(__file__)


class CheckPanel(widgets.VBox):
    """Everything here is a call of `check`, `Edits.apply` or `Edits.save`.

    Parameters
    ----------
    data
        The version to check, or its reference.
    saved
        Called with a version that was saved here.

    Attributes
    ----------
    view
        The last report, to be gone through; None before the first check.
    """

    def __init__(self, data: Dataset | str, saved: Callable[[Dataset], None] | None = None) -> None:
        self.dataset = open_dataset(data)
        self.view: CheckView | None = None
        self.work = LongWork(_("Check"), _("Checking"), _("Cancelled."), self._allow)
        self.work.start.on_click(lambda _button: self._begin())
        self.apply = widgets.Button(description=_("Apply accepted"), icon="check", layout={"width": "auto"})
        self.apply.on_click(lambda _button: self.work.guarded(self._apply))
        self.bar = EditsBar(saved=saved)
        self._place = widgets.VBox()
        introduction = widgets.HTML(balance.styled(f'<p class="arm-data-facts">{escape(_introduction())}</p>'))
        buttons = widgets.HBox((self.work.start, self.work.cancel), layout={"flex_flow": "row wrap"})
        apply = widgets.HBox((self.apply,))
        # What is done with the findings comes after them, for eyes and for who listens.
        super().__init__((introduction, buttons, self.work.progress, self._place, apply, self.work.message, self.bar))
        self._allow()

    @property
    def report(self) -> CheckReport | None:
        """What was found; None before the first check."""
        return self.view.report if self.view is not None else None

    def _begin(self) -> None:
        self.view = None
        self._place.children = ()
        self.work.begin(self._check)

    def _check(self, progress: Progress) -> None:
        view = CheckView(check(self.dataset, progress=progress))
        view.observe(lambda _change: self._allow(), "accepted")
        self.view = view
        self._place.children = (view,)
        self.bar.show(edit(self.dataset))

    def _apply(self) -> None:
        if self.view is None:
            return
        self.work.say("")
        edits = edit(self.dataset)
        edits.apply(self.view.suggestions)
        self.view.accepted = []
        self.bar.show(edits)

    def _allow(self) -> None:
        """Let accepted suggestions be applied, when there are any."""
        self.apply.disabled = self.work.is_busy or self.view is None or not self.view.accepted
        self.apply.layout.display = None if self.view is not None and self.view.kinds else "none"


def _introduction() -> str:
    return _(
        "Looks for missing values, what cannot be read, copies, outliers, likely wrong classes and more. Nothing is "
        "changed by it: you decide what to do about each finding."
    )
