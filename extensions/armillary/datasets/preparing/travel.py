"""The form in which models take the examples of a prepared version, with the steps that an app does with raw input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armillary.datasets.examples import stacked_columns
from armillary.datasets.features import ClassLabel, Feature, Image
from armillary.datasets.kinds import is_number_to_models, kinds_of
from armillary.datasets.preparing.own_steps import Map
from armillary.datasets.preparing.pipeline import Pipeline, form_of
from armillary.datasets.preparing.recipe import described
from armillary.datasets.preparing.step import Bound, Form
from armillary.datasets.preparing.table_steps import Encode, Impute, Scale
from armillary.inputs.input_spec import InputSpec, image_spec
from armillary.inputs.preparation import Preparation, RawField


def picture_column(form: Form) -> str | None:
    """Return the one column of pictures of one size, where an example is a picture."""
    images = form.of(Image)
    if len(images) != 1 or kinds_of(form.features, form.target) != ("image",):
        return None
    known = form.pictures[images[0]]
    return images[0] if known.height is not None and known.width is not None else None


def needed_columns(form: Form) -> tuple[str, ...]:
    """Return the columns in which every example has a value: the class, and the picture that models take."""
    return tuple(column for column in (form.target, picture_column(form)) if column is not None)


def model_columns(form: Form) -> tuple[str, ...]:
    """Return the columns of the matrix that a model sees of a table; none where an example is no row of a table."""
    if form.target is None or kinds_of(form.features, form.target) != ("table",):
        return ()
    inputs = {name: feature for name, feature in form.features.items() if name != form.target}
    return stacked_columns(_empty(inputs), inputs)[1]


def _empty(inputs: dict[str, Feature]) -> Any:
    from armillary.datasets.schemas import arrow_schema

    return arrow_schema(inputs).empty_table().to_pandas()


def input_of(pipeline: Pipeline, moments: NDArray[np.float64] | None) -> InputSpec | None:
    """Return the form in which models take an example; None where none does.

    Parameters
    ----------
    moments
        Tables: number, mean and squared deviations of each column over the training examples, ``(3, columns)``.
    """
    form = pipeline.form
    column = picture_column(form)
    if column is not None:
        return _picture_input(pipeline, column)
    columns = model_columns(form)
    if not columns:
        return None
    n, mean, squares = moments if moments is not None else np.zeros((3, len(columns)))
    std = np.sqrt(np.divide(squares, n, out=np.ones_like(squares), where=n > 0))
    std = np.where(std > 0, std, 1.0)
    numbers = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    return InputSpec("table", (len(columns),), "float32", 1.0, *numbers, columns, _table_preparation(pipeline))


def _picture_input(pipeline: Pipeline, column: str) -> InputSpec:
    form = pipeline.form
    known, (mean, std) = form.pictures[column], form.normalised or ((), ())
    spec = image_spec(int(known.height or 0), int(known.width or 0), known.channels)
    return replace(spec, mean=mean, std=std, preparation=_picture_preparation(pipeline, column))


def _picture_preparation(pipeline: Pipeline, column: str) -> Preparation | None:
    before, left_out, steps = _after_own(pipeline)
    own = tuple(step.step.travelling(step) for step in steps if step.step.travels and column in step.columns)
    parent = pipeline.dataset.manifest.input
    earlier = parent.preparation if parent is not None and not left_out else None
    if earlier is not None:
        return replace(earlier, steps=(*earlier.steps, *own))
    if not own and not left_out:
        return None
    known = before.pictures[column]
    shape = (known.height, known.width, known.channels) if known.height and known.width else None
    return Preparation(own, shape, known.channels, left_out=left_out)


def _table_preparation(pipeline: Pipeline) -> Preparation | None:
    before, left_out, steps = _after_own(pipeline)
    own = tuple(step.step.travelling(step) for step in steps if isinstance(step.step, (Impute, Scale, Encode)))
    parent = pipeline.dataset.manifest.input
    earlier = parent.preparation if parent is not None and not left_out else None
    if earlier is not None:
        return replace(earlier, steps=(*earlier.steps, *own))
    if not own and not left_out:
        return None
    return Preparation(own, fields=_fields(before, steps, parent), left_out=left_out)


def _after_own(pipeline: Pipeline) -> tuple[Form, tuple[str, ...], Sequence[Bound]]:
    """Return the columns after the last function of one's own, the steps up to there if any, and those after it."""
    steps = pipeline.steps
    last = max((place for place, step in enumerate(steps) if isinstance(step.step, Map)), default=-1)
    if last < 0:
        return form_of(pipeline.dataset), (), steps
    return steps[last].after, tuple(described(step.step) for step in steps[: last + 1]), steps[last + 1 :]


def _fields(form: Form, steps: Sequence[Bound], parent: InputSpec | None) -> tuple[RawField, ...]:
    usual = dict(zip(parent.columns, parent.mean, strict=True)) if parent is not None else {}
    texts = {
        column: tuple(coding["categories"])
        for step in steps
        if isinstance(step.step, Encode)
        for column, coding in step.learned.items()
    }
    fields = []
    for name, feature in form.features.items():
        if name == form.target:
            continue
        if isinstance(feature, ClassLabel):
            fields.append(RawField(name, feature.names))
        elif name in texts:
            fields.append(RawField(name, texts[name]))
        elif is_number_to_models(feature):
            fields.append(RawField(name, (), float(f"{usual.get(name, 0.0):.3g}")))
    return tuple(fields)
