"""The panel's piece for recipes: choose steps and their parameters, order them, try them on examples, prepare."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.long_work import LongWork, Progress
from armillary.datasets.preparing.preparing import prepare
from armillary.datasets.preparing.recipe import Recipe, described
from armillary.datasets.preparing.step import Step
from armillary.datasets.preparing.step_form import StepForm
from armillary.datasets.preparing.trial_table import trial_table
from armillary.datasets.preparing.trying import try_recipe
from armillary.form import field, form

_ = translator(__file__)

_ROW = {"flex_flow": "row wrap", "align_items": "center"}
_SMALL = {"width": "auto"}


class RecipeView(widgets.VBox):
    """Everything here is a call of `try_recipe` or `prepare` with a `Recipe`.

    Parameters
    ----------
    data
        The dataset to prepare, or its reference.
    cluster
        The workers to do it on; default: threads of the kernel.
    recipe
        The steps to begin with.
    saved
        Called with what was prepared, in the thread that did it.

    Attributes
    ----------
    recipe
        The steps that are chosen now.
    dataset
        What was prepared last, or None.
    """

    def __init__(
        self,
        data: Dataset | str,
        *,
        cluster: Any = None,
        recipe: Recipe | None = None,
        saved: Callable[[Dataset], None] | None = None,
    ) -> None:
        self.source = open_dataset(data)
        self.recipe = recipe or Recipe()
        self.dataset: Dataset | None = None
        self._cluster, self._saved = cluster, saved
        cancelled = _("Cancelled. What was done is kept: prepare again to go on.")
        self.work = LongWork(_("Prepare"), _("Preparing"), cancelled, self._allow)
        self.steps = StepForm(tuple(self.source.features), self.add)
        self.listed, self._lines = widgets.VBox(), list[widgets.HBox]()
        self._build_controls()
        self.trials = widgets.HTML()
        title = widgets.HTML(balance.styled(f"<h3>{escape(_('Prepare {name}', name=self.source.reference))}</h3>"))
        super().__init__(
            (title, self.steps, self.listed, self._controls, self.work.progress, self.work.message, self.trials),
        )
        self._list()

    def _build_controls(self) -> None:
        self.name = field(widgets.Text, _("Name"), value=self.source.name, label="140px")
        self.copies = field(widgets.BoundedIntText, _("Augmented copies"), value=0, min=0, max=100, label="140px")
        self.seed = field(widgets.BoundedIntText, _("Seed"), value=0, min=0, max=2**31, label="140px")
        choices = [(_("stop"), "stop"), (_("leave out"), "skip"), (_("set aside"), "set_aside")]
        self.on_error = field(widgets.Dropdown, _("Unusable examples"), options=choices, label="140px")
        self.try_out = widgets.Button(description=_("Try on some examples"), layout=_SMALL)
        self.try_out.on_click(lambda _button: self.work.guarded(self._try))
        self.work.start.on_click(lambda _button: self._start())
        buttons = (self.try_out, self.work.start, self.work.cancel)
        rows = ((self.name, self.on_error), (self.copies, self.seed), buttons)
        self._controls = form(*(widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows))

    # The list of steps ---------------------------------------------------------------------------------------

    def add(self, step: Step) -> None:
        """Put a step behind the others."""
        self._change(self.recipe + step)

    def move(self, place: int, by: int) -> None:
        """Move a step up (-1) or down (1)."""
        steps = list(self.recipe.steps)
        other = place + by
        if 0 <= other < len(steps):
            steps[place], steps[other] = steps[other], steps[place]
            self._change(Recipe(steps))

    def remove(self, place: int) -> None:
        """Take a step out."""
        steps = list(self.recipe.steps)
        del steps[place]
        self._change(Recipe(steps))

    def _change(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.trials.value = ""
        self.work.say("")
        self._list()

    def _list(self) -> None:
        """Show the steps in lines that stay where they are: a button that was pressed keeps the focus."""
        steps = self.recipe.steps
        self._lines += [self._line(place) for place in range(len(self._lines), len(steps))]
        for place, (line, step) in enumerate(zip(self._lines, steps, strict=False)):
            up, down, _away, text = line.children
            up.disabled, down.disabled = place == 0, place == len(steps) - 1
            text.value = f"<code>{place + 1}. {escape(described(step))}</code>"
        self.listed.children = tuple(self._lines[: len(steps)])
        self._allow()

    def _allow(self) -> None:
        """Let a recipe be tried and prepared that has steps."""
        self.work.start.disabled = self.try_out.disabled = self.work.is_busy or not self.recipe

    def _line(self, place: int) -> widgets.HBox:
        up = self._button("↑", _("Move step {n} up", n=place + 1), lambda: self.move(place, -1))
        down = self._button("↓", _("Move step {n} down", n=place + 1), lambda: self.move(place, 1))
        away = self._button("✕", _("Remove step {n}", n=place + 1), lambda: self.remove(place))
        return widgets.HBox((up, down, away, widgets.HTML()), layout=_ROW)

    @staticmethod
    def _button(sign: str, meaning: str, action: Any) -> widgets.Button:
        button = widgets.Button(description=sign, tooltip=meaning, layout={"width": "34px"})
        button.on_click(lambda _button: action())
        return button

    # Trying and preparing ------------------------------------------------------------------------------------

    def _try(self) -> None:
        self.work.say(_("Trying …"))
        self.trials.value = trial_table(try_recipe(self.source, self.recipe, seed=self.seed.value))
        self.work.say("")

    def _start(self) -> None:
        options: dict[str, Any] = {
            "name": self.name.value.strip() or None,
            "seed": self.seed.value,
            "copies": self.copies.value,
            "on_error": self.on_error.value,
            "cluster": self._cluster,
        }
        recipe = self.recipe
        self.work.begin(lambda progress: self._prepare(recipe, options, progress))

    def _prepare(self, recipe: Recipe, options: dict[str, Any], progress: Progress) -> None:
        self.dataset = prepare(self.source, recipe, **options, progress=progress)
        reference, examples = self.dataset.reference, f"{len(self.dataset):,}"
        self.work.say(_("{reference} is saved: {n} examples.", reference=reference, n=examples), kind="done")
        if self._saved is not None:
            self._saved(self.dataset)
