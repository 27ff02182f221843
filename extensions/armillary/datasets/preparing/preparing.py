"""Preparing a dataset by a recipe: the next version, or one of another name where its form changes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
from armillary_kernels.texts import own_language, translator
from numpy.typing import NDArray
from tqdm.auto import tqdm

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.importing.rejects import OnError, Rejects
from armillary.datasets.places import is_local
from armillary.datasets.preparing import travel, units
from armillary.datasets.preparing.crew import Crew, crew_of
from armillary.datasets.preparing.made import Made, example_name
from armillary.datasets.preparing.own_code import code_hash
from armillary.datasets.preparing.own_steps import OwnStep
from armillary.datasets.preparing.pipeline import Pipeline, bound, check_copies
from armillary.datasets.preparing.recipe import PREPARE, Recipe, as_recipe
from armillary.datasets.preparing.step import Bound
from armillary.datasets.preparing.units import Done, Plan, Unit, units_of
from armillary.datasets.preparing.workshop import Workshop, aside, workshop
from armillary.datasets.saving import Content, Placed, explained, refuse_other_form, save
from armillary.datasets.splits import Assignment
from armillary.datasets.store import check_name, newest
from armillary.errors import DatasetError

_ = translator(__file__)

#: Changes when the same recipe gives other bytes than before.
_FORMAT = 2

Progress = Callable[[int, int], None]


def prepare(
    data: Dataset | str,
    recipe: Any,
    name: str | None = None,
    *,
    cluster: Any = None,
    seed: int = 0,
    copies: int = 0,
    on_error: OnError = "stop",
    progress: Progress | None = None,
) -> Dataset:
    """Prepare a dataset by a recipe.

    Steps that learn (impute, scale, encode, tokenise, normalise) see the training examples only, before anything is
    prepared. Steps that augment change training examples only. The same recipe and seed give the same bytes, whoever
    does the work. A run that was killed or cancelled goes on where it was when it is called again.

    Parameters
    ----------
    data
        The dataset, or a reference to it.
    recipe
        A `Recipe`, a step of `armillary.datasets.steps`, or a list of steps.
    name
        Of what is made; default: it becomes the next version of the same dataset. A recipe that changes columns, or the
        size of pictures, needs another name.
    cluster
        The workers to do it on: an `armillary.cluster` or a ``distributed.Client``; by default threads of this process.
        A worker's memory holds a few row groups.
    seed
        Of all that is random.
    copies
        Augmented copies of each training example to add beside it; 0: the example itself is augmented.
    on_error
        Examples that cannot be used ``"stop"`` it, which then lists them; ``"skip"`` leaves them out and keeps place
        and reason in `Dataset.skipped`; ``"set_aside"`` keeps their data there too.
    progress
        Called with the number of examples done and of all (twice as many where steps learn); what it raises cancels.
        Without it a bar shows when it takes longer than a second.

    Returns
    -------
    Dataset
        The saved version; its parent and its recipe are in its manifest, see `Recipe.of`.

    Raises
    ------
    DatasetError
        When a step does not fit, its function cannot be replayed, examples cannot be used, the name is taken by a
        dataset of another form, or nothing can be written.
    ClusterError
        When the cluster is lost, or its workers die again and again.

    Examples
    --------
    >>> from armillary.datasets import Recipe, steps
    >>> recipe = Recipe([steps.Resize(224, 224), steps.Flip(), steps.Normalise()])
    >>> datasets.prepare("birds", recipe, name="birds-224", cluster=cluster(workers=4))
    """
    dataset, name = open_dataset(data), check_name(name) if name is not None else open_dataset(data).name
    _check_numbers(seed, copies)
    rejects, seen = (Rejects(on_error, dataset.reference) for _list in range(2))
    steps = as_recipe(recipe)
    if not steps:
        raise DatasetError(_("The recipe has no steps."), _("Give at least one."))
    with tqdm(desc=dataset.reference, delay=1, leave=False, disable=progress is not None) as bar:
        crew = crew_of(cluster, _own_functions(steps))
        job = _Job(dataset, steps, seed, copies, crew, progress or _shown_by(bar), seen)
        return Dataset(job.run(name, rejects))


def _check_numbers(seed: Any, copies: Any) -> None:
    for parameter, value in (("seed", seed), ("copies", copies)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
            what = _("{parameter} is {value!r}.", parameter=parameter, value=value)
            raise DatasetError(what, _("Give a whole number, 0 or more."))


def _shown_by(bar: Any) -> Progress:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


@dataclass
class _Job:
    """One preparation."""

    dataset: Dataset
    recipe: Recipe
    seed: int
    copies: int
    crew: Crew
    progress: Progress
    seen: Rejects  # of units as they are finished: when enough is wrong, the rest need not be done to say so
    done: int = 0
    total: int = 0
    units: list[Unit] = field(default_factory=list)

    def run(self, name: str, rejects: Rejects) -> Any:
        """Do it and return the folder of the version."""
        dataset = self.dataset
        store = dataset.store
        self.units = units_of(dataset)
        learning = [
            s for s, known in zip(self.recipe.steps, self.recipe.learned, strict=True) if s.learns and known is None
        ]
        self.total = len(dataset) * (1 + len(learning))
        self.progress(0, self.total)
        pipeline = Pipeline(dataset, bound(dataset, self.recipe, self.seed, self._teach), self.copies)
        check_copies(pipeline)
        learned = Recipe(self.recipe.steps, [step.learned for step in pipeline.steps])
        self._refuse_early(name, pipeline)
        with explained(name, store), workshop(store, self._decides(learned)) as place:
            results = self._do(pipeline, place)
            done = [results[unit.number] for unit in self.units]
            settings = {"step": PREPARE, "seed": int(self.seed), "copies": int(self.copies)}
            made = Made(pipeline, learned, settings, place, done, rejects)
            folder = save(name, made.content(), store)
            place.clear()
        return folder

    def _codes(self, unit: Unit) -> NDArray[np.int64]:
        return self.dataset.assignment.codes[unit.first : unit.last]

    def _plan(self, pipeline: Pipeline, cancelled: Path | None = None) -> Plan:
        form, splits = pipeline.form, tuple(self.dataset.splits)
        has_moments = bool(travel.model_columns(form))
        return Plan(pipeline, splits, has_moments, travel.needed_columns(form), own_language(), cancelled)

    def _teach(self, pipeline: Pipeline, steps: list[Bound]) -> list[Any]:
        """Return what the training examples teach each of some steps, in one pass."""
        if not self.dataset.splits.get("train"):
            what = _("{dataset} has no training examples to learn from.", dataset=self.dataset.reference)
            raise DatasetError(what, _("Split it first: dataset.split()."))
        found: dict[int, list[Any]] = {}

        def report(number: int, known: list[Any]) -> None:
            found[number] = known
            self._advance(len(steps) * (self.units[number].last - self.units[number].first))

        quiet = Pipeline(pipeline.dataset, pipeline.steps, augments=False)
        tasks = [(unit, self._codes(unit), steps) for unit in self.units]
        self.crew.run(units.learn, self._plan(quiet), tasks, report, lambda: None)
        known = found[0]
        for number in range(1, len(tasks)):
            known = [step.step.merge(a, b) for step, a, b in zip(steps, known, found[number], strict=True)]
        return [step.step.conclude(each, step) for step, each in zip(steps, known, strict=True)]

    def _advance(self, examples: int) -> None:
        self.done += examples
        self.progress(self.done, self.total)

    def _refuse_early(self, name: str, pipeline: Pipeline) -> None:
        """Refuse a name of another form before all the work, not after it."""
        form = pipeline.form
        blank = Placed((), Assignment((), np.empty(0, np.int64)), input=travel.input_of(pipeline, None))
        content = Content(dict(form.features), form.target, lambda _folder: blank, (), "")
        store = self.dataset.store
        refuse_other_form(newest(store, name), name, content, blank)

    def _decides(self, learned: Recipe) -> list[object]:
        manifest = self.dataset.manifest
        hashes = [file.sha256 for file in (*manifest.shards, manifest.split_file)]
        steps = json.dumps(learned.to_json(), sort_keys=True)
        cut = [(unit.first, unit.last) for unit in self.units]
        code = [code_hash(function) for function in _own_functions(learned)]
        libraries = [pa.__version__, PIL.__version__, np.__version__]
        return [_FORMAT, libraries, hashes, steps, code, self.seed, self.copies, cut, manifest.target]

    def _do(self, pipeline: Pipeline, place: Workshop) -> dict[int, Done]:
        """Do the units that are not finished, and return what came of all."""
        finished = place.finished(len(self.units), refused_again=bool(_own_functions(self.recipe)))
        left = [unit for unit in self.units if unit.number not in finished]
        self._advance(sum(unit.last - unit.first for unit in self.units if unit.number in finished))
        direct = self.crew.sees_files and is_local(self.dataset.folder)

        def report(number: int, result: Any) -> None:
            unit = left[number]
            done = finished[unit.number] = result if isinstance(result, Done) else _unpacked(result, place, unit)
            for row, reason in done.refused:
                self.seen.add(example_name(row), reason)
            self._advance(unit.last - unit.first)

        plan = self._plan(pipeline, place.cancelled if direct else None)
        tasks = [
            (unit, self._codes(unit), place.folder if direct else None, place.place_of(unit.number)) for unit in left
        ]
        self.crew.run(_done_aside, plan, tasks, report, place.abandon)
        return finished


def _own_functions(recipe: Recipe) -> list[Callable[..., Any]]:
    """Return the functions of one's own that a recipe has."""
    given = [step.function for step in recipe.steps if isinstance(step, OwnStep) and step.function is not None]
    return [function.function for function in given if function.function is not None]


def _done_aside(plan: Plan, unit: Unit, codes: NDArray[np.int64], folder: Path | None, finished: Path) -> Any:
    """Do a unit in a folder that all see, or return its files; runs on a worker."""
    if folder is None:
        return _packed(plan, unit, codes)
    with aside(folder, finished) as new:
        return units.do(plan, unit, codes, new) if new is not None else Done.read(finished)


def _packed(plan: Plan, unit: Unit, codes: NDArray[np.int64]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="armillary-preparing-") as folder:
        units.do(plan, unit, codes, Path(folder))
        files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _unpacked(files: dict[str, bytes], place: Workshop, unit: Unit) -> Done:
    with aside(place.folder, place.place_of(unit.number)) as new:
        if new is not None:
            for name, data in files.items():
                (new / name).parent.mkdir(exist_ok=True)
                (new / name).write_bytes(data)
    return Done.read(place.place_of(unit.number))
