"""The panel's piece for recipes: choose steps and their parameters, order them, try them on examples, prepare."""

from __future__ import annotations

import threading
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.preparing.preparing import prepare
from armillary.datasets.preparing.recipe import Recipe, described
from armillary.datasets.preparing.step import Step
from armillary.datasets.preparing.step_form import StepForm
from armillary.datasets.preparing.trial_table import trial_table
from armillary.datasets.preparing.trying import try_recipe
from armillary.errors import ArmillaryError
from armillary.form import field, form

_ = translator(__file__)

_ROW = {"flex_flow": "row wrap", "align_items": "center"}
_SMALL = {"width": "auto"}


class _Cancelled(Exception):  # noqa: N818 (no error: a person's wish)
    """The person does not want it any more."""


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

    Attributes
    ----------
    recipe
        The steps that are chosen now.
    dataset
        What was prepared last, or None.
    """

    def __init__(self, data: Dataset | str, *, cluster: Any = None, recipe: Recipe | None = None) -> None:
        self.source = open_dataset(data)
        self.recipe = recipe or Recipe()
        self.dataset: Dataset | None = None
        self._cluster = cluster
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self.steps = StepForm(tuple(self.source.features), self.add)
        self.listed = widgets.VBox()
        self._build_controls()
        self.progress, self.message, self.trials = widgets.HTML(), widgets.HTML(), widgets.HTML()
        title = widgets.HTML(f'<h3 style="margin:0">{escape(_("Prepare {name}", name=self.source.reference))}</h3>')
        super().__init__(
            (title, self.steps, self.listed, self._controls, self.progress, self.message, self.trials),
        )
        self._list()

    def _build_controls(self) -> None:
        self.name = field(widgets.Text, _("Name"), value=self.source.name, label="140px")
        self.copies = field(widgets.BoundedIntText, _("Augmented copies"), value=0, min=0, max=100, label="140px")
        self.seed = field(widgets.BoundedIntText, _("Seed"), value=0, min=0, max=2**31, label="140px")
        choices = [(_("stop"), "stop"), (_("leave out"), "skip"), (_("set aside"), "set_aside")]
        self.on_error = field(widgets.Dropdown, _("Unusable examples"), options=choices, label="140px")
        self.try_out = widgets.Button(description=_("Try on some examples"), layout=_SMALL)
        self.start = widgets.Button(description=_("Prepare"), button_style="primary", icon="play")
        self.cancel = widgets.Button(description=_("Cancel"), disabled=True)
        self.try_out.on_click(lambda _button: self._guarded(self._try))
        self.start.on_click(lambda _button: self._guarded(self._start))
        self.cancel.on_click(lambda _button: self._cancelled.set())
        rows = ((self.name, self.on_error), (self.copies, self.seed), (self.try_out, self.start, self.cancel))
        self._controls = form(*(widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows))

    # The list of steps ---------------------------------------------------------------------------------------

    def add(self, step: Step) -> None:
        """Put a step behind the others."""
        self._change(Recipe((*self.recipe.steps, step)))

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
        self._say("")
        self._list()

    def _list(self) -> None:
        self.listed.children = tuple(self._line(place, step) for place, step in enumerate(self.recipe.steps))
        self.start.disabled = self.try_out.disabled = not self.recipe

    def _line(self, place: int, step: Step) -> widgets.HBox:
        text = widgets.HTML(f"<code>{place + 1}. {escape(described(step))}</code>")
        up = self._button("↑", _("Move step {n} up", n=place + 1), lambda: self.move(place, -1), place == 0)
        last = place == len(self.recipe) - 1
        down = self._button("↓", _("Move step {n} down", n=place + 1), lambda: self.move(place, 1), last)
        away = self._button("✕", _("Remove step {n}", n=place + 1), lambda: self.remove(place))
        return widgets.HBox((up, down, away, text), layout=_ROW)

    @staticmethod
    def _button(sign: str, meaning: str, action: Any, disabled: bool = False) -> widgets.Button:
        button = widgets.Button(description=sign, tooltip=meaning, disabled=disabled, layout={"width": "34px"})
        button.on_click(lambda _button: action())
        return button

    # Trying and preparing ------------------------------------------------------------------------------------

    def _try(self) -> None:
        self._say(_("Trying …"))
        self.trials.value = trial_table(try_recipe(self.source, self.recipe, seed=self.seed.value))
        self._say("")

    def _start(self) -> None:
        """Prepare in a thread, so that Cancel is heard."""
        options: dict[str, Any] = {
            "name": self.name.value.strip() or None,
            "seed": self.seed.value,
            "copies": self.copies.value,
            "on_error": self.on_error.value,
            "cluster": self._cluster,
            "progress": self._advance,
        }
        self._cancelled.clear()
        self._busy(True)
        self._say("")
        self._thread = threading.Thread(target=self._run, args=(options,), name="armillary-recipe", daemon=True)
        self._thread.start()

    def _run(self, options: dict[str, Any]) -> None:
        try:
            self._guarded(lambda: self._prepare(options))
        finally:
            self.progress.value = ""
            self._busy(False)

    def _prepare(self, options: dict[str, Any]) -> None:
        try:
            self.dataset = prepare(self.source, self.recipe, **options)
        except _Cancelled:
            self._say(_("Cancelled. What was done is kept: prepare again to go on."), kind="done")
            return
        examples = f"{len(self.dataset):,}"
        self._say(_("{reference} is saved: {n} examples.", reference=self.dataset.reference, n=examples), kind="done")

    def wait(self, timeout: float | None = None) -> None:
        """Wait until preparing has ended, or so many seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _advance(self, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise _Cancelled
        percent = 100 * done // max(1, total)
        label = escape(_("Preparing"))
        self.progress.value = f'<label>{label} <progress max="100" value="{percent}"></progress></label> {percent} %'

    def _busy(self, busy: bool) -> None:
        self.start.disabled = self.try_out.disabled = busy or not self.recipe
        self.cancel.disabled = not busy

    def _guarded(self, action: Any) -> None:
        """Do it, or say in words why not; nothing a person does here ends in a silent failure."""
        try:
            action()
        except ArmillaryError as error:
            self._say(error.what, error.remedy, kind="error")
        except Exception as error:  # a function of one's own, or a cluster, can fail in any way
            self._say(f"{type(error).__name__}: {error}", kind="error")

    def _say(self, what: str, remedy: str = "", kind: str = "") -> None:
        role = "alert" if kind == "error" else "status"
        text = f"<strong>{escape(what)}</strong> {escape(remedy)}" if kind else escape(what)
        self.message.value = f'<p role="{role}">{text}</p>' if what else ""
