"""What every step of a recipe is: named, described by plain values, checked against the columns before any work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.features import Boxes, Feature, Image, Sequence, Struct
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.media import BadMediumError
from armillary.errors import DatasetError
from armillary.inputs.pictures import BadPictureError

_ = translator(__file__)

#: What a step may raise about one example, which is then left out or ends the preparation, as was asked for.
BAD_EXAMPLE = (BadExampleError, BadMediumError, BadPictureError)

#: Every step by its name.
STEPS: dict[str, type[Step]] = {}


@dataclass(frozen=True)
class PictureForm:
    """What is known of all pictures of a column; None is not known, or differs.

    Attributes
    ----------
    options
        Of Pillow's ``save``, by which all are stored; None: those that have changed, without loss.
    """

    height: int | None = None
    width: int | None = None
    channels: int = 3
    options: tuple[tuple[str, Any], ...] | None = None


@dataclass(frozen=True)
class Form:
    """The columns at one point of a recipe.

    Attributes
    ----------
    pictures
        What is known of each column of pictures.
    normalised
        Mean and deviation of each channel, once pictures are normalised.
    """

    features: Mapping[str, Feature]
    target: str | None
    pictures: Mapping[str, PictureForm] = field(default_factory=dict)
    normalised: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def with_features(self, changed: Mapping[str, Feature], *, without: tuple[str, ...] = ()) -> Form:
        """Return the form with some columns changed, in their places, or added behind; and without others."""
        kept = {name: feature for name, feature in self.features.items() if name not in without or name in changed}
        return replace(self, features={**kept, **changed})

    def with_pictures(self, columns: tuple[str, ...], form: PictureForm) -> Form:
        """Return the form with pictures of another form in these columns."""
        return replace(self, pictures={**self.pictures, **dict.fromkeys(columns, form)})

    def of(self, kind: type[Any]) -> list[str]:
        """Return the columns with features of one kind."""
        return [name for name, feature in self.features.items() if isinstance(feature, kind)]


@dataclass
class Row:
    """One example on its way through the steps.

    Attributes
    ----------
    number
        Its row in the version that is prepared.
    values
        By column, as stored; images are `Medium` or `Drawn`, sounds `Medium` or `Sound`.
    copy
        Which augmented copy of that row it is; 0 is the row itself.
    augmented
        Whether steps that augment change it.
    """

    number: int
    split: str
    values: dict[str, Any]
    copy: int = 0
    augmented: bool = False


@dataclass(frozen=True)
class Bound:
    """A step at its place in a recipe: the columns it works on, what they are before, and what it has learned."""

    step: Step
    index: int
    columns: tuple[str, ...]
    before: Form
    seed: int
    learned: Any = None

    def random(self, row: Row) -> np.random.Generator:
        """Return chance for one row: the same whoever asks, whenever."""
        return np.random.default_rng((self.seed, self.index, row.number, row.copy))

    @property
    def after(self) -> Form:
        """The columns after the step."""
        return self.step.form_after(self)


@dataclass(frozen=True)
class Step(ABC):
    """A step of a recipe; its fields are its parameters.

    Parameters
    ----------
    columns
        The columns to work on; none means all that it fits, the target never.
    """

    #: The step's name in recipes.
    name: ClassVar[str]
    #: Whether it changes training examples at random.
    augments: ClassVar[bool] = False
    #: Whether whoever asks a model about raw input has to take this step.
    travels: ClassVar[bool] = False
    #: Whether what it learns decides which columns there are.
    adds_columns: ClassVar[bool] = False
    #: What parameters that are names may be.
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    columns: tuple[str, ...] = field(default=(), kw_only=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in cls.__dict__:
            STEPS[cls.name] = cls

    def __post_init__(self) -> None:
        if isinstance(self.columns, str) or self.columns is None:
            object.__setattr__(self, "columns", () if self.columns is None else (self.columns,))
        for each in fields(self):
            object.__setattr__(self, each.name, _plain(getattr(self, each.name)))
        names = isinstance(self.columns, tuple) and all(isinstance(name, str) for name in self.columns)
        self.require(names, "columns", _("Give names of columns in a list."))
        for parameter, known in self.choices.items():
            self.require_one_of(parameter, known)
        self.check()

    def check(self) -> None:  # noqa: B027 (most steps have something to check, none must)
        """Raise DatasetError when a parameter is wrong."""

    def require(self, fits: bool, parameter: str, remedy: str) -> None:
        """Raise DatasetError about a parameter unless it fits."""
        if not fits:
            value = getattr(self, parameter)
            what = _("Step {step!r}: {parameter} is {value!r}.", step=self.name, parameter=parameter, value=value)
            raise DatasetError(what, remedy)

    def require_positive(self, *parameters: str) -> None:
        """Raise DatasetError unless these parameters are whole numbers from 1."""
        for parameter in parameters:
            value = getattr(self, parameter)
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            self.require(whole and value >= 1, parameter, _("Give a whole number, 1 or more."))

    def require_from_0(self, *parameters: str) -> None:
        """Raise DatasetError unless these parameters are numbers from 0."""
        for parameter in parameters:
            value = getattr(self, parameter)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            self.require(number and 0 <= value < float("inf"), parameter, _("Give a number, 0 or more."))

    def require_share(self, parameter: str) -> None:
        """Raise DatasetError unless a parameter lies between 0 and 1."""
        self.require_from_0(parameter)
        self.require(getattr(self, parameter) <= 1, parameter, _("Give a number from 0 to 1."))

    def require_one_of(self, parameter: str, known: tuple[str, ...]) -> None:
        """Raise DatasetError unless a parameter is one of these."""
        self.require(getattr(self, parameter) in known, parameter, _("Use {names}.", names=", ".join(known)))

    def to_json(self) -> dict[str, Any]:
        """Return its name and its parameters, also the usual ones, which may change; as plain JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        given = {name: value for name, value in values.items() if value is not None and value != ()}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return {"step": self.name, **plain}

    def unusual(self) -> dict[str, Any]:
        """Return the parameters that are not the usual ones."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the step that ``to_json`` described."""
        return cls(**values)

    @property
    def learns(self) -> bool:
        """Whether it has to see the training examples before it can work."""
        return False

    @abstractmethod
    def fits(self, feature: Feature) -> bool:
        """Return whether it works on columns with this feature."""

    def columns_of(self, form: Form) -> tuple[str, ...]:
        """Return the columns that it works on.

        Raises
        ------
        DatasetError
            When it fits none, or a column that was named does not exist or does not fit.
        """
        fitting = [name for name, feature in form.features.items() if name != form.target and self.fits(feature)]
        wrong = [name for name in self.columns if name not in fitting]
        if wrong or not fitting:
            asked = _("column {name!r}", name=wrong[0]) if wrong else _("any column")
            listed = ", ".join(map(repr, fitting)) or _("none")
            raise DatasetError(
                _("Step {step!r} does not fit {asked}; it fits: {listed}.", step=self.name, asked=asked, listed=listed),
                _("Name columns that it fits, or leave the step out."),
            )
        return self.columns or tuple(fitting)

    def form_after(self, at: Bound) -> Form:
        """Return the columns after the step; raises DatasetError when it cannot be taken here."""
        return at.before

    def apply(self, row: Row, at: Bound) -> bool:
        """Change one row; return whether it stays."""
        raise NotImplementedError

    def stream(self, rows: Iterator[Row | Refused], at: Bound) -> Iterator[Row | Refused]:
        """Yield the rows of one row group after the step; what cannot be used is passed on with the reason."""
        for row in rows:
            if isinstance(row, Refused) or (self.augments and not row.augmented):
                yield row
                continue
            try:
                if self.apply(row, at):
                    yield row
            except BAD_EXAMPLE as error:
                yield Refused(row.number, f"{self.name}: {error}")

    def check_learned(self, at: Bound) -> None:  # noqa: B027 (most steps learn nothing)
        """Raise DatasetError when what was learned from one dataset is no use for the columns of another."""

    def start(self, at: Bound) -> Any:
        """Return what it knows before it has seen a training example."""
        raise NotImplementedError

    def see(self, known: Any, row: Row, at: Bound) -> None:
        """Learn from one training example."""
        raise NotImplementedError

    def merge(self, known: Any, more: Any) -> Any:
        """Return what two parts of the training examples have taught, the first before the second."""
        raise NotImplementedError

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return what it has learned, as plain JSON values."""
        raise NotImplementedError

    def travelling(self, at: Bound) -> dict[str, Any]:
        """Return the step as an app takes it; only of steps that travel."""
        learned = {} if at.learned is None else {"learned": at.learned}
        return {**self.to_json(), **learned}


@dataclass(frozen=True)
class Refused:
    """A row that cannot be used, and why."""

    number: int
    reason: str


class Augmentation(Step):
    """A step that changes training examples at random; others pass through unchanged."""

    augments = True


def is_pictures(feature: Feature) -> bool:
    """Return whether a column holds a picture, or a list of them."""
    return isinstance(feature, Image) or (isinstance(feature, Sequence) and isinstance(feature.feature, Image))


def _plain(value: Any) -> Any:
    """Return a parameter as JSON has it, a list or a set as a tuple."""
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(map(_plain, value), key=repr))
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def refuse_same_names(step: str, form: Form, made: Iterable[str]) -> None:
    """Raise DatasetError where a new column would take the place of another, or of another new one."""
    times = Counter([*made])
    twice = next((name for name, count in times.items() if count > 1), None)
    if twice is not None:
        raise DatasetError(
            _("Step {step!r} would make two columns called {column!r}.", step=step, column=twice),
            _("Leave out one of the columns that they are made of."),
        )
    taken = [name for name in times if name in form.features]
    if taken:
        raise DatasetError(
            _("Step {step!r} would make a column {column!r}, and there is one.", step=step, column=taken[0]),
            _("Leave that column out by a step before, or the step."),
        )


def refuse_spans(step: str, form: Form) -> None:
    """Raise DatasetError where marked parts of a text would no longer be those that were marked."""
    spans = [name for name in form.of(Sequence) if _is_spans(form.features[name])]
    if spans:
        raise DatasetError(
            _("Step {step!r} would leave the spans in {column!r} where they were.", step=step, column=spans[0]),
            _("Leave the step or that column out: words of other lengths move all that follows."),
        )


def _is_spans(feature: Any) -> bool:
    """Return whether a column holds lists of parts with ``start`` and ``end``, as labelling makes them."""
    return isinstance(feature.feature, Struct) and {"start", "end"} <= dict(feature.feature.parts).keys()


def refuse_boxes(step: str, form: Form) -> None:
    """Raise DatasetError where boxes would no longer lie around their objects."""
    boxes = form.of(Boxes)
    if boxes:
        raise DatasetError(
            _("Step {step!r} would leave the boxes in {column!r} where they were.", step=step, column=boxes[0]),
            _("Use flip or zoom, which move boxes too, or leave the column out."),
        )
