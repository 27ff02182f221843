"""A recipe: named steps in order, and what those that learn have learned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.preparing import steps as _all_steps  # noqa: F401 (their names are known once they are imported)
from armillary.datasets.preparing.own_steps import OwnStep
from armillary.datasets.preparing.step import STEPS, Step
from armillary.datasets.verified_files import verified_file
from armillary.errors import DatasetError

_ = translator(__file__)

#: The entry of a manifest's recipe that the steps follow.
PREPARE = "prepare"
_LARGEST_IN_A_MANIFEST = 4 * 2**10


class Recipe:
    """A list of steps, each a value of `armillary.datasets.steps`.

    Parameters
    ----------
    steps
        In the order of doing; one alone needs no list.
    learned
        For each step what it has learned, None for one that learns when a dataset is prepared.

    Examples
    --------
    >>> recipe = Recipe([steps.Impute(), steps.Scale(), steps.Encode()])
    >>> prepared = datasets.prepare("penguins", recipe, name="penguins-ready")
    >>> datasets.prepare("penguins-of-2009", Recipe.of(prepared), name="penguins-of-2009-ready")
    """

    def __init__(self, steps: Step | Iterable[Step] = (), learned: Sequence[Any] | None = None) -> None:
        self.steps = tuple(_listed(steps))
        wrong = [step for step in self.steps if not isinstance(step, Step)]
        if wrong:
            what = _("{value!r} is no step of a recipe.", value=wrong[0])
            raise DatasetError(what, _("Take one of datasets.steps, such as steps.Resize(224, 224)."))
        self.learned = tuple(learned) if learned is not None else (None,) * len(self.steps)

    @classmethod
    def of(cls, data: Dataset | str) -> Recipe:
        """Return the recipe that made a version, with what its steps learned then.

        Raises
        ------
        DatasetError
            When the version was not prepared by a recipe.
        """
        dataset = open_dataset(data)
        entries = list(dataset.manifest.recipe)
        if not entries or entries[0].get("step") != PREPARE:
            what = _("{dataset} was not prepared by a recipe.", dataset=dataset.reference)
            raise DatasetError(what, _("Ask for the recipe of a version that datasets.prepare() made."))
        return cls.from_json([_with_learned(dataset, entry) for entry in entries[1:]])

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]]) -> Recipe:
        """Return the recipe that ``to_json`` described.

        Raises
        ------
        DatasetError
            For a step that there is not, or parameters that it does not have.
        """
        given = [dict(entry) for entry in entries]
        learned = [entry.pop("learned", None) for entry in given]
        return cls([_step(entry.pop("step", None), entry) for entry in given], learned)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the steps as plain JSON values."""
        both = zip(self.steps, self.learned, strict=True)
        return [{**step.to_json(), **({} if known is None else {"learned": known})} for step, known in both]

    def afresh(self) -> Recipe:
        """Return the recipe with nothing learned: its steps learn from the dataset that is prepared next."""
        return Recipe(self.steps)

    def with_function(self, function: Callable[..., Any], place: int | None = None) -> Recipe:
        """Return the recipe with another function in a step that has one.

        Parameters
        ----------
        function
            Of one example.
        place
            The place of the step, from 0; default: the first whose function was not found again.
        """
        lost = [i for i, step in enumerate(self.steps) if isinstance(step, OwnStep) and _is_lost(step)]
        chosen = place if place is not None else next(iter(lost), None)
        if chosen is None or not 0 <= chosen < len(self.steps) or not isinstance(self.steps[chosen], OwnStep):
            raise DatasetError(_("This recipe has no step there that lacks a function."), _("Give the step's place."))
        steps = [step.with_function(function) if i == chosen else step for i, step in enumerate(self.steps)]  # type: ignore[attr-defined] # it is one
        return Recipe(steps, self.learned)

    def __add__(self, other: Recipe | Step) -> Recipe:
        more = other if isinstance(other, Recipe) else Recipe([other])
        return Recipe((*self.steps, *more.steps), (*self.learned, *more.learned))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True, default=str))

    def __repr__(self) -> str:
        return f"Recipe([{', '.join(map(described, self.steps))}])"

    def __str__(self) -> str:
        return "\n".join(f"{place}. {described(step)}" for place, step in enumerate(self.steps, 1))


def described(step: Step) -> str:
    """Return a step in a line: its name and the parameters that are not the usual ones."""
    values = step.unusual()
    if isinstance(step, OwnStep):
        values.pop("features", None)
        values |= {"function": step.function.place} if step.function is not None else {}
    listed = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"{step.name}({listed})"


def as_recipe(recipe: Any) -> Recipe:
    """Return a recipe of what stands for one: a step, or steps as such or as JSON values.

    Raises
    ------
    DatasetError
        When something of it is no step.
    """
    if isinstance(recipe, Recipe):
        return recipe
    whole = Recipe()
    for part in _listed(recipe):
        whole = whole + (Recipe.from_json([part]) if isinstance(part, Mapping) else part)
    return whole


def _listed(steps: Any) -> list[Any]:
    """Return steps as a list, also one alone, or what is none and will be refused."""
    return list(steps) if isinstance(steps, Iterable) and not isinstance(steps, (str, Mapping)) else [steps]


def _step(name: Any, values: Mapping[str, Any]) -> Step:
    if name not in STEPS:
        what = _("There is no step {name!r}.", name=name)
        raise DatasetError(what, _("Steps: {names}.", names=", ".join(sorted(STEPS))))
    try:
        return STEPS[name].from_json(values)
    except TypeError as error:
        what = _("Step {step!r} does not have these parameters: {error}.", step=name, error=error)
        raise DatasetError(what, _("Give those of datasets.steps.")) from error


def _is_lost(step: OwnStep) -> bool:
    return step.function is not None and step.function.function is None


def _with_learned(dataset: Dataset, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with what the step learned, from the file where it was put if it is large."""
    learned = entry.get("learned")
    if not isinstance(learned, dict) or set(learned) != {"file"}:
        return dict(entry)
    file = next(each for each in dataset.manifest.media if each.file == learned["file"])
    return {**entry, "learned": json.loads(verified_file(dataset.folder, file).read_bytes())}


def learned_apart(entries: list[dict[str, Any]], put: Callable[[bytes, str], str]) -> list[dict[str, Any]]:
    """Return a recipe's entries with what is large put into files of the version, so that its manifest stays small."""
    return [_apart(entry, put) for entry in entries]


def _apart(entry: dict[str, Any], put: Callable[[bytes, str], str]) -> dict[str, Any]:
    data = json.dumps(entry.get("learned"), ensure_ascii=False).encode()
    if len(data) <= _LARGEST_IN_A_MANIFEST:
        return entry
    return {**entry, "learned": {"file": put(data, "learned.json")}}
