"""The panel that labels a version: alone, straight into its edits, or with others, in a project."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.editing.edits import edit
from armillary.datasets.editing.edits_bar import EditsBar
from armillary.datasets.labelling.labeller import Labeller
from armillary.datasets.labelling.project import Project
from armillary.datasets.labelling.project_view import project_html
from armillary.datasets.labelling.session import EditSession, ProjectSession, TieSession
from armillary.datasets.labelling.tasks import Task, task_of, tasks_of
from armillary.datasets.message_line import MessageLine
from armillary.datasets.shared_places import person
from armillary.form import field, form

_ = translator(__file__)

_ALONE, _NEW_PROJECT, _NEW_COLUMN = "\0alone", "\0new project", "\0new column"
_SEPARATORS = re.compile(r"[,，、;；\n]+")


class LabellingView(widgets.VBox):
    """Everything here is a call of `edit`, `labelling.create`, `Project.answer`, `Project.to_edits` or `Edits.save`.

    Parameters
    ----------
    dataset
        The version to label.
    rows
        Which rows, in which order, such as those that a check found; all by default.
    saved
        Called with a version that was saved here.
    """

    def __init__(
        self,
        dataset: Dataset | str | None = None,
        rows: NDArray[np.int64] | None = None,
        saved: Callable[[Dataset], None] | None = None,
    ) -> None:
        self.dataset: Dataset | None = None
        self._rows = rows
        self._project: Project | None = None
        self._quiet = False
        self._told_saved = saved
        self._build_choices()
        self._build_forms()
        self.labeller = Labeller()
        self.standing = widgets.HTML()
        self.decide = widgets.Button(description=_("Decide where people are divided"), layout={"width": "auto"})
        self.take_over = widgets.Button(description=_("Take over the consensus"), layout={"width": "auto"})
        self.again = widgets.Button(description=_("Look again"), layout={"width": "auto"})
        self.bar = EditsBar(saved=self._saved)
        self.message = MessageLine()
        buttons = widgets.HBox((self.again, self.decide, self.take_over), layout={"flex_flow": "row wrap"})
        self._together = widgets.VBox((self.standing, buttons))
        for button, act in (
            (self.begin, self._begin_column),
            (self.make, self._make_project),
            (self.again, self._show_work),
            (self.decide, self._decide),
            (self.take_over, self._take_over),
        ):
            button.on_click(lambda _button, act=act: self.message.guard(act))
        choices = form(self.work, self.column, self.split)
        super().__init__(
            (choices, self._column_form, self._project_form, self.message, self.labeller, self._together, self.bar)
        )
        self._unheard: Callable[[], None] = lambda: None
        if dataset is not None:
            self.show_dataset(open_dataset(dataset))
        else:
            self.layout.display = "none"

    def _build_choices(self) -> None:
        self.work = field(widgets.Dropdown, _("Label"), label="130px", width="420px")
        self.column = field(widgets.Dropdown, _("Column"), label="130px", width="420px")
        self.split = field(widgets.Dropdown, _("Split"), label="130px", width="420px")
        for control in (self.work, self.column, self.split):
            control.observe(self._chosen, "value")

    def _build_forms(self) -> None:
        self.new_column = field(widgets.Text, _("New column"), label="130px", width="420px", value="label")
        kinds = [(_("a class for each"), "classes"), (_("boxes"), "boxes"), (_("parts of a text"), "spans")]
        self.kind = field(widgets.Dropdown, _("What"), label="130px", width="420px", options=kinds)
        self.classes = field(
            widgets.Text, _("Classes"), label="130px", width="420px", placeholder=_("cat, dog, neither")
        )
        self.begin = widgets.Button(description=_("Begin"), button_style="primary", layout={"width": "auto"})
        self._column_form = form(self.new_column, self.kind, self.classes, self.begin)
        self.project_name = field(widgets.Text, _("Project"), label="130px", width="420px", value="labels")
        self.people = field(
            widgets.Text, _("People"), label="130px", width="420px", placeholder=_("ada, bo; nobody: everyone")
        )
        self.overlap = field(widgets.BoundedIntText, _("People for each"), label="130px", width="220px", min=1, max=50)
        self.make = widgets.Button(description=_("Make the project"), button_style="primary", layout={"width": "auto"})
        self._project_form = form(self.project_name, self.people, self.overlap, self.make)

    def show_dataset(self, dataset: Dataset, rows: NDArray[np.int64] | None = None) -> None:
        """Label another version, or these of its rows."""
        self.dataset, self._rows = dataset, rows if rows is not None else self._rows
        self.layout.display = None
        self._new_task: Task | None = None
        self.message.guard(self._open)

    # What is chosen -----------------------------------------------------------------------------------

    def _open(self, work: str = _ALONE) -> None:
        """Fill the choices in and show what they say."""
        from armillary.datasets.labelling import projects

        dataset = self._opened()
        self._projects = {project.name: project for project in projects(dataset)}
        self._quiet = True
        try:
            self.work.options = [
                (_("by yourself"), _ALONE),
                *((_("in the project {name}", name=name), name) for name in self._projects),
                (_("in a new project, with others"), _NEW_PROJECT),
            ]
            self.work.value = work
            tasks = tasks_of(dataset.features, dataset.target)
            self.column.options = [*((name, name) for name in tasks), (_("a new one"), _NEW_COLUMN)]
            self.column.value = next(iter(tasks), _NEW_COLUMN)
            known = {"train": _("train"), "validation": _("validation"), "test": _("test")}
            entries = [(f"{known.get(name, name)} ({n:,})", name) for name, n in dataset.splits.items()]
            self.split.options = [(_("all"), ""), *entries]
            self.split.value = ""
        finally:
            self._quiet = False
        self._show_work()

    def _opened(self) -> Dataset:
        assert self.dataset is not None  # noqa: S101 (nothing is shown before)
        return self.dataset

    def _chosen(self, change: Any) -> None:
        if not self._quiet and self.dataset is not None:
            if change["owner"] is self.column:
                self._new_task = None
            self.message.guard(self._show_work)

    def _show_work(self) -> None:
        work = self.work.value
        project = self._projects.get(work)
        new_column = self.column.value == _NEW_COLUMN and project is None
        shown = {
            self.column: project is None,
            self.split: work == _ALONE and self._rows is None,
            self._column_form: new_column and (work == _NEW_PROJECT or self._new_task is None),
            self.begin: work == _ALONE,
            self._project_form: work == _NEW_PROJECT,
            self._together: project is not None,
            self.labeller: project is not None or (work == _ALONE and (not new_column or self._new_task is not None)),
        }
        for control, is_shown in shown.items():
            control.layout.display = None if is_shown else "none"
        self._project = project
        self._unheard()
        if project is not None:
            self._show_project(project)
        elif shown[self.labeller]:
            self._show_alone()
        else:
            self.bar.show(None)

    def _show_alone(self) -> None:
        dataset = self._opened()
        edits = edit(dataset)
        task = self._new_task or task_of(dataset, self.column.value)
        rows = self._rows if self._rows is not None else dataset.rows(self.split.value or None)
        self.labeller.show(EditSession(edits, task, rows), _title(dataset.reference, task))
        self.bar.show(edits)
        self._unheard = edits.on_change(self._changed)

    def _changed(self) -> None:
        """Undo in the bar, or a change made elsewhere, is to be seen; the labeller's own it has shown already."""
        if not self.labeller.busy:
            self.labeller.refresh()

    def _show_project(self, project: Project) -> None:
        title = _title(f"{project.dataset.reference} · {project.name}", project.task)
        self.labeller.show(ProjectSession(project), title)
        self.standing.value = balance.styled(project_html(project))
        self.decide.layout.display = None if project.is_owner else "none"
        self.bar.show(None)

    # What is done -------------------------------------------------------------------------------------

    def _task_of_form(self) -> Task:
        dataset = self._opened()
        if self.column.value != _NEW_COLUMN:
            return task_of(dataset, self.column.value)
        classes = [name.strip() for name in _SEPARATORS.split(self.classes.value) if name.strip()]
        return task_of(dataset, self.new_column.value.strip(), classes=classes, kind=self.kind.value)

    def _begin_column(self) -> None:
        self._new_task = self._task_of_form()
        self._show_work()

    def _make_project(self) -> None:
        from armillary.datasets.labelling import make

        people = [name.strip() for name in _SEPARATORS.split(self.people.value) if name.strip()]
        project = make(
            self._opened(), self.project_name.value.strip(), self._task_of_form(), people, self.overlap.value
        )
        self._open(project.name)
        if people and person() not in people:
            self.message.say(_("You label nothing yourself in this project."))

    def _decide(self) -> None:
        if self._project is not None:
            session = TieSession(self._project)
            self.labeller.show(session, _title(_("{project}: decide", project=self._project.name), session.task))

    def _take_over(self) -> None:
        if self._project is not None:
            edits = self._project.to_edits()
            self.bar.show(edits)

    def _saved(self, dataset: Dataset) -> None:
        if self._told_saved is not None:
            self._told_saved(dataset)
        self._rows = None
        self.show_dataset(dataset)
        self.message.say(_("{reference} is saved; you go on in it.", reference=dataset.reference), kind="done")


def _title(what: str, task: Task) -> str:
    asked = {"classes": _("class"), "boxes": _("boxes"), "spans": _("parts of the text")}
    return f"{what} · {task.column} ({asked[task.kind]})"
