"""Labelling: one person in the edits of a version, or several people in a project, with their agreement.

>>> from armillary.datasets import labelling
>>> project = labelling.create("birds@3", people=["ada", "bo", "cy"], overlap=2)
>>> project.queue()[:2]
array([17, 402])
>>> project.answer(17, "crow")
>>> print(project.agreement())
Krippendorff's alpha 0.81 over 120 examples
>>> project.to_edits().save()
<Dataset birds@4: …>
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.labelling.agreement import Agreement
from armillary.datasets.labelling.consensus import Consensus
from armillary.datasets.labelling.project import Project, read_project
from armillary.datasets.labelling.project_folder import make_folder, project_folders, remove_folder
from armillary.datasets.labelling.settings import new_settings
from armillary.datasets.labelling.tasks import Kind, Task, task_of
from armillary.errors import DatasetError

__all__ = [
    "Agreement",
    "Consensus",
    "Project",
    "Task",
    "create",
    "delete_project",
    "open_project",
    "panel",
    "projects",
    "task_of",
]

_ = translator(__file__)


def create(
    dataset: Dataset | str,
    name: str = "labels",
    column: str | None = None,
    *,
    people: Sequence[str] = (),
    overlap: int = 1,
    classes: Sequence[str] = (),
    kind: Kind = "classes",
    shown: str | None = None,
    rows: Iterable[int] | None = None,
    seed: int = 0,
) -> Project:
    """Make a project in which several people label one version.

    Parameters
    ----------
    dataset
        The version; ``"birds"`` is the newest.
    name
        Of the project.
    column, classes, kind, shown
        What is labelled; see `task_of`.
    people
        Who labels, by their names in the hub; everyone who may read the dataset when none is named.
    overlap
        By how many people each row is labelled.
    rows
        Which rows; all by default.
    seed
        Of who labels what, and in which order.

    Raises
    ------
    DatasetError
        When something does not fit, the name is taken, or this person may not write beside the dataset.
    """
    opened = open_dataset(dataset)
    task = task_of(opened, column, classes=classes, kind=kind, shown=shown)
    return make(opened, name, task, people, overlap, rows, seed)


def make(
    dataset: Dataset,
    name: str,
    task: Task,
    people: Sequence[str] = (),
    overlap: int = 1,
    rows: Iterable[int] | None = None,
    seed: int = 0,
) -> Project:
    """Make a project for a task that is known; parameters and errors as of `create`."""
    settings = new_settings(dataset, name, task, people, overlap, rows, seed)
    return Project(dataset, settings, make_folder(dataset, settings))


def open_project(dataset: Dataset | str, name: str = "labels") -> Project:
    """Open a project of a dataset, of whichever version; its own version is opened with it.

    Raises
    ------
    DatasetError
        When there is no such project; the error lists those there are.
    """
    opened = open_dataset(dataset)
    folders = project_folders(opened)
    project = read_project(opened, folders[name]) if name in folders else None
    if project is None:
        listed = ", ".join(folders) or _("none")
        raise DatasetError(
            _(
                "{name} has no labelling project {project!r}; projects: {listed}.",
                name=opened.name,
                project=name,
                listed=listed,
            ),
            _("Open one of these, or make it with create()."),
        )
    version = project.settings.dataset.partition("@")[2]
    if version == str(opened.version):
        return project
    return Project(_version(opened, version), project.settings, project.folder)


def delete_project(dataset: Dataset | str, name: str) -> None:
    """Delete a project and all that people have answered in it, for good.

    Raises
    ------
    DatasetError
        When there is no such project, or it is somebody else's.
    """
    remove_folder(open_project(dataset, name).folder)


def _version(opened: Dataset, version: str) -> Dataset:
    from armillary.datasets.store import find

    return Dataset(find(opened.folder.parent.parent, f"{opened.name}@{version}"))


def projects(dataset: Dataset | str) -> list[Project]:
    """Return the labelling projects of this version."""
    opened = open_dataset(dataset)
    found = (read_project(opened, folder) for folder in project_folders(opened).values())
    own = f"{opened.name}@{opened.version}"
    return [project for project in found if project and project.settings.dataset == own]


def panel(dataset: Dataset | str) -> Any:
    """Return the panel that labels a version, alone or with others."""
    from armillary.datasets.labelling.labelling_view import LabellingView

    return LabellingView(dataset)
