"""A recipe tried on some examples, without saving anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from armillary_kernels.texts import own_language, translator

from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import Feature, Image
from armillary.datasets.importing.encoding import encode_example
from armillary.datasets.media import Medium
from armillary.datasets.plain_values import plain_value, with_media
from armillary.datasets.preparing.own_steps import Filter
from armillary.datasets.preparing.pipeline import Pipeline, bound, form_of, pictures_of
from armillary.datasets.preparing.recipe import as_recipe
from armillary.datasets.preparing.rows import Drawn
from armillary.datasets.preparing.step import Bound, Form, PictureForm, Refused, Row
from armillary.datasets.preparing.units import Plan, learn, units_of
from armillary.datasets.reading.row_groups import row_groups_of
from armillary.datasets.schemas import checked_features
from armillary.datasets.splits import check_seed
from armillary.errors import DatasetError
from armillary.inputs.pictures import decode, fitted

_ = translator(__file__)


@dataclass(frozen=True)
class Trial:
    """One example before a recipe and after it, as `Dataset.iterate` gives examples.

    Attributes
    ----------
    after
        None where a filter leaves it out, or it cannot be used.
    reason
        Why it cannot be used; empty otherwise.
    """

    row: int
    before: Mapping[str, Any]
    after: Mapping[str, Any] | None
    reason: str = ""


def try_recipe(data: Dataset | str, recipe: Any, examples: int = 6, *, seed: int = 0) -> list[Trial]:
    """Return some training examples before and after a recipe.

    Steps that learn do so from the first few thousand training examples, so that this is quick; `prepare` lets them
    learn from all.

    Parameters
    ----------
    examples
        How many, spread over the training examples.

    Raises
    ------
    DatasetError
        As `prepare` does, except for single examples, whose reasons are returned.
    """
    dataset = open_dataset(data)
    check_seed(seed)
    if not isinstance(examples, (int, np.integer)) or examples < 1:
        what = _("{parameter} is {value!r}.", parameter="examples", value=examples)
        raise DatasetError(what, _("Give a whole number, 1 or more."))
    pipeline = Pipeline(dataset, bound(dataset, as_recipe(recipe), seed, _taught_by_a_few))
    rows = dataset.rows("train" if dataset.splits.get("train") else None)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(examples, len(rows))).astype(int))]
    groups = row_groups_of(dataset.folder, dataset.manifest.created)
    of = groups.of(chosen)
    found: dict[int, Row | Refused] = {}
    for group in np.unique(of).tolist():
        here = chosen[of == group]
        found |= {row.number: row for row in pipeline.rows(group, here, ["train"] * len(here))}
    before = dict(zip(chosen.tolist(), dataset.take(chosen.tolist()), strict=True))
    return [_trial(row, before[row], found.get(row), pipeline.form) for row in chosen.tolist()]


def prepared_example(
    recipe: Any, example: Mapping[str, Any], features: Mapping[str, Feature] | Dataset, target: str | None = None
) -> dict[str, Any]:
    """Return what a recipe that has learned makes of one raw example that is not in any dataset.

    Steps that augment or filter are left out: this is for input that a model is asked about.

    Parameters
    ----------
    example
        Values by column, as for `import_examples`.
    features
        The dataset as it was before the recipe, whose pictures may all have one size and be grey; or the features of
        its columns alone, without those that the example lacks.

    Raises
    ------
    DatasetError
        When a step has not learned yet, or the example cannot be used.
    """
    known, form = as_recipe(recipe), _form(features, target)
    values = encode_example(form.features, example, lambda data, path: {"bytes": data, "path": path})
    row = Row(0, "", {name: with_media(form.features[name], value, _in_memory) for name, value in values.items()})
    row.values |= {name: _as_stored(row.values[name], form.pictures[name]) for name in form.of(Image)}
    for index, (step, learned) in enumerate(zip(known.steps, known.learned, strict=True)):
        if step.augments or isinstance(step, Filter):
            continue
        if step.learns and learned is None:
            what = _("Step {step!r} has not learned anything yet.", step=step.name)
            raise DatasetError(what, _("Take the recipe of a prepared dataset: Recipe.of(dataset)."))
        at = Bound(step, index, step.columns_of(form), form, 0, learned)
        if learned is not None:
            step.check_learned(at)
        [found] = step.stream(iter([row]), at)
        if isinstance(found, Refused):
            raise DatasetError(_("The example cannot be used: {reason}.", reason=found.reason), _("Give another."))
        form = at.after
    return _plain(row.values, form)


def _form(given: Mapping[str, Feature] | Dataset, target: str | None) -> Form:
    if isinstance(given, Dataset):
        return form_of(given)
    features = checked_features(given)
    return Form(features, target, pictures_of(features))


def _as_stored(value: Medium | None, known: PictureForm) -> Any:
    """Return a picture in the form that all pictures of its dataset have."""
    if value is None or known.height is None or known.width is None:
        return value
    return Drawn(fitted(decode(value.read()), (known.width, known.height), known.channels), value.path)


def _in_memory(value: dict[str, Any]) -> Medium:
    return Medium(value["path"] or "", value["bytes"])


def _trial(number: int, before: Mapping[str, Any], found: Row | Refused | None, form: Form) -> Trial:
    if isinstance(found, Row):
        return Trial(number, before, _plain(found.values, form))
    return Trial(number, before, None, found.reason if found is not None else "")


def _plain(values: Mapping[str, Any], form: Form) -> dict[str, Any]:
    return {name: plain_value(feature, values[name], lambda medium: medium) for name, feature in form.features.items()}


def _taught_by_a_few(pipeline: Pipeline, steps: list[Bound]) -> list[Any]:
    """Return what the training examples of the first unit that has any teach the steps."""
    dataset = pipeline.dataset
    quiet = Pipeline(dataset, pipeline.steps, augments=False)
    plan = Plan(quiet, tuple(dataset.splits), has_moments=False, needed=(), language=own_language())
    train = plan.splits.index("train") if "train" in plan.splits else -1
    for unit in units_of(dataset):
        codes = dataset.assignment.codes[unit.first : unit.last]
        if (codes == train).any():
            known = learn(plan, unit, codes, steps)
            return [step.step.conclude(each, step) for step, each in zip(steps, known, strict=True)]
    what = _("{dataset} has no training examples to learn from.", dataset=dataset.reference)
    raise DatasetError(what, _("Split it first: dataset.split()."))
