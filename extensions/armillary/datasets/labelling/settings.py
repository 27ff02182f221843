"""What a labelling project is; it never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.labelling.tasks import Task
from armillary.datasets.names import refuse_text
from armillary.datasets.shared_places import person
from armillary.errors import DatasetError

_ = translator(__file__)

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What a project is; it never changes.

    Attributes
    ----------
    dataset
        The version that is labelled, such as ``"birds@3"``.
    people
        Who labels; empty for everyone who may read the dataset.
    overlap
        By how many people each row is labelled.
    rows
        Which rows, None for all.
    """

    name: str
    dataset: str
    task: Task
    people: tuple[str, ...]
    overlap: int
    rows: tuple[int, ...] | None
    seed: int
    owner: str
    created: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        rows = None if self.rows is None else list(self.rows)
        listed = {"people": list(self.people), "rows": rows, "task": self.task.to_json()}
        return {"format_version": FORMAT_VERSION, **values, **listed}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings that ``to_json`` described."""
        if values["format_version"] != FORMAT_VERSION:
            raise ValueError(values["format_version"])
        rows = None if values["rows"] is None else tuple(values["rows"])
        typed = {"people": tuple(values["people"]), "rows": rows, "task": Task.from_json(values["task"])}
        return cls(**{name: value for name, value in values.items() if name != "format_version"} | typed)


def new_settings(
    dataset: Dataset,
    name: str,
    task: Task,
    people: Sequence[str],
    overlap: int,
    rows: Iterable[int] | None,
    seed: int,
) -> Settings:
    """Return the settings of a new project, checked.

    Raises
    ------
    DatasetError
        When ``people`` is no list, more people are to label each row than there are, or a row is none.
    """
    refuse_text(people, "people")
    named = tuple(dict.fromkeys(who.strip() for who in people if who.strip()))
    if not isinstance(overlap, int) or overlap < 1 or (named and overlap > len(named)):
        raise DatasetError(
            _("{overlap} people cannot label each example: {n} are named.", overlap=overlap, n=len(named)),
            _("Name more people, or let fewer label each."),
        )
    numbers = None if rows is None else tuple(sorted({int(row) for row in rows}))
    if numbers is not None and (not numbers or numbers[0] < 0 or numbers[-1] >= len(dataset)):
        raise DatasetError(
            _("{reference} has not all of these rows.", reference=dataset.reference),
            _("Rows are numbered from 0 to {last}.", last=len(dataset) - 1),
        )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Settings(name, f"{dataset.name}@{dataset.version}", task, named, overlap, numbers, seed, person(), created)
