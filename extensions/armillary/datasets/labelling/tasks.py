"""What is labelled: one column of a dataset, with classes, boxes, or spans of a text.

An *answer* is what a person says of one example, in a form that JSON has: the name of a class; or a list of parts, each
with its ``label`` and either its ``box`` (x, y, width, height in pixels from the upper left) or the ``start`` and
``end`` of a span. Spans count characters (Unicode code points) of a text, or tokens where the text is stored in tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Any, Literal

from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import (
    MARKED_TEXTS,
    Boxes,
    ClassLabel,
    Feature,
    Image,
    TokenLabels,
    Value,
    is_spans,
    spans_feature,
)
from armillary.datasets.features import Sequence as Listed
from armillary.datasets.names import refuse_text
from armillary.errors import DatasetError

_ = translator(__file__)

Kind = Literal["classes", "boxes", "spans"]
Unit = Literal["character", "token"]
#: The label of tokens that belong to nothing.
OUTSIDE = "O"
#: Where no picture reaches, and no text: areas and places are numbers as they are stored.
_FARTHEST = 2**31 - 1
_TOKENS = Listed(Value("string"))


@dataclass(frozen=True)
class Task:
    """What is asked of each example.

    Attributes
    ----------
    kind
        ``"classes"``, ``"boxes"`` or ``"spans"``.
    column
        Where the answers belong.
    names
        The classes of that column; of tokens, perhaps with ``B-`` and ``I-`` before them.
    shown
        The column in which boxes are drawn or spans marked; empty for classes, which are of the whole example.
    unit
        Of spans.
    """

    kind: Kind
    column: str
    names: tuple[str, ...]
    shown: str = ""
    unit: Unit = "character"

    @property
    def feature(self) -> Feature:
        """The feature of the column."""
        if self.kind == "classes":
            return ClassLabel(self.names)
        if self.kind == "boxes":
            return Boxes(self.names)
        return TokenLabels(self.names) if self.unit == "token" else spans_feature(self.names)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that a person chooses from: of ``B-PER`` and ``I-PER``, ``PER``."""
        if self.kind != "spans" or self.unit != "token":
            return self.names
        inside = [name for name in self.names if name != OUTSIDE]
        return tuple(dict.fromkeys(name[2:] for name in inside)) if self._has_beginnings else tuple(inside)

    @property
    def _has_beginnings(self) -> bool:
        """Whether labels say where a span begins: the IOB2 scheme (Ramshaw and Marcus, 1995)."""
        inside = [name for name in self.names if name != OUTSIDE]
        return bool(inside) and all(name[:2] in ("B-", "I-") for name in inside)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"names": list(self.names)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """Return the task that ``to_json`` described."""
        return cls(**{**values, "names": tuple(values["names"])})

    # Answers and values -------------------------------------------------------------------------------

    def checked(self, answer: Any, text: Sized | None = None) -> Any:
        """Return an answer in its one form.

        Parameters
        ----------
        text
            That spans are marked in; without it, whether it is long enough is not looked at.

        Raises
        ------
        DatasetError
            When it is none, or a span ends beyond the text.
        """
        try:
            found: Any = self._checked_class(answer) if self.kind == "classes" else self._checked_parts(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                _("{answer} is no answer to {column!r}.", answer=repr(answer)[:60], column=self.column),
                _("Choose among {labels}.", labels=", ".join(self.labels[:20])),
            ) from error
        if self.kind == "spans" and text is not None:
            self._require_within(found, len(text))
        return found

    def _require_within(self, answer: Sequence[Mapping[str, Any]], length: int) -> None:
        end = max((part["end"] for part in answer), default=0)
        if end > length:
            raise DatasetError(
                _(
                    "{column!r}: a mark ends at {end}, the text at {length}.",
                    column=self.column,
                    end=end,
                    length=length,
                ),
                _("Mark it again."),
            )

    def _checked_class(self, answer: Any) -> str:
        if answer not in self.names:
            raise ValueError(answer)
        return str(answer)

    def _checked_parts(self, answer: Any) -> list[dict[str, Any]]:
        if isinstance(answer, (str, Mapping)):
            raise TypeError(answer)
        parts = [self._checked_box(part) if self.kind == "boxes" else self._checked_span(part) for part in answer]
        return sorted(parts, key=lambda part: [*part.get("box", ()), part.get("start"), part.get("end"), part["label"]])

    def _checked_box(self, part: Mapping[str, Any]) -> dict[str, Any]:
        box = [round(float(side), 2) for side in part["box"]]
        known = part["label"] in self.labels and len(box) == 4 and all(abs(side) <= _FARTHEST for side in box)
        if not known or min(box[2:]) <= 0:
            raise ValueError(part)
        return {"label": part["label"], "box": box}

    def _checked_span(self, part: Mapping[str, Any]) -> dict[str, Any]:
        start, end = part["start"], part["end"]
        if part["label"] not in self.labels or not isinstance(start, int) or not isinstance(end, int):
            raise ValueError(part)
        if not 0 <= start < end <= _FARTHEST:
            raise ValueError(part)
        return {"label": part["label"], "start": start, "end": end}

    def answer_of(self, value: Any) -> Any:
        """Return the answer that a value of the column (as `Dataset.take` gives it) stands for; None for none."""
        if value is None or self.kind == "classes":
            return value
        if self.kind == "boxes":
            pairs = zip(value["category"], value["bbox"], strict=True)
            return self._usable([{"label": label, "box": box} for label, box in pairs])
        if self.unit == "token":
            return list(self._spans_of_tokens(value))
        return self._usable(value)

    def _usable(self, parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return parts that were stored, without those that nobody could see or mark: of no area, or of no class."""
        found = []
        for part in parts:
            with contextlib.suppress(DatasetError):
                found += self.checked([part])
        return self.checked(found)  # type: ignore[no-any-return] # of parts, a list

    def value_of(self, answer: Any, text: Sized | None = None) -> Any:
        """Return the value of the column that an answer stands for.

        Parameters
        ----------
        text
            That spans are marked in, or its tokens; None for an empty one.

        Raises
        ------
        DatasetError
            When the answer does not fit the text.
        """
        if answer is None or self.kind == "classes":
            return answer
        if self.kind == "boxes":
            return {"bbox": [part["box"] for part in answer], "category": [part["label"] for part in answer]}
        length = len(text or ())
        self._require_within(answer, length)
        return self._labels_of_tokens(answer, length) if self.unit == "token" else answer

    def _spans_of_tokens(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        begun, label = 0, OUTSIDE
        for index, name in enumerate([*names, OUTSIDE]):
            inside = name[2:] if self._has_beginnings and name != OUTSIDE else name
            begins = self._has_beginnings and name.startswith("B-")
            if inside == label and not begins:
                continue
            if label != OUTSIDE:
                yield {"label": label, "start": begun, "end": index}
            begun, label = index, inside

    def _labels_of_tokens(self, answer: Sequence[Mapping[str, Any]], tokens: int) -> list[str]:
        names = [OUTSIDE] * tokens
        for part in answer:
            for index in range(part["start"], part["end"]):
                prefix = ("B-" if index == part["start"] else "I-") if self._has_beginnings else ""
                names[index] = prefix + part["label"]
        if OUTSIDE in names and OUTSIDE not in self.names:
            raise DatasetError(
                _("{column!r}: token {n} has no label.", column=self.column, n=names.index(OUTSIDE) + 1),
                _(
                    "Give every token one: {labels} has none for what belongs to nothing.",
                    labels=", ".join(self.labels),
                ),
            )
        return names


def tasks_of(features: Mapping[str, Feature], target: str | None) -> dict[str, Task]:
    """Return what can be labelled in a dataset, by column; the target first."""
    order = sorted(features, key=lambda name: name != target)
    found = {name: _task(features, name) for name in order}
    return {name: task for name, task in found.items() if task is not None}


def task_of(
    dataset: Dataset,
    column: str | None = None,
    *,
    classes: Sequence[str] = (),
    kind: Kind = "classes",
    shown: str | None = None,
) -> Task:
    """Return the task to label a column of a dataset, or a new one.

    Parameters
    ----------
    column
        One with classes, boxes, labels of tokens or spans; the target, or the only such, by default. A new name
        together with ``classes`` means a new column.
    classes, kind
        Of a new column.
    shown
        Of a new column: the one with the images or the texts; needed only where there are several.

    Raises
    ------
    DatasetError
        When there is no such column, it cannot be labelled, or ``classes`` is no list.
    """
    refuse_text(classes, "classes")
    known = tasks_of(dataset.features, dataset.target)
    if column is None and not classes and known:
        return next(iter(known.values()))
    if column in known and not classes:
        return known[str(column)]
    if not classes or column in dataset.features:
        remedy = _("Name one of {columns}, or give classes= for a new one.", columns=", ".join(known))
        raise DatasetError(
            _("{reference} has no column {column!r} to label.", reference=dataset.reference, column=column or "label"),
            remedy if known else _("Give the classes of a new one."),
        )
    return _new_task(dataset, column or "label", tuple(classes), kind, shown)


def _new_task(dataset: Dataset, column: str, classes: tuple[str, ...], kind: Kind, shown: str | None) -> Task:
    if len(set(classes)) != len(classes) or not all(isinstance(name, str) and name.strip() for name in classes):
        raise DatasetError(_("The classes {classes} are not all different names.", classes=classes), _("Change them."))
    if kind == "classes":
        return Task(kind, column, classes)
    if kind == "boxes":
        found = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    else:
        found = [name for name, feature in dataset.features.items() if feature == _TOKENS or feature in MARKED_TEXTS]
    if shown is not None and shown in found:
        found = [shown]
    if len(found) != 1 or (shown is not None and shown not in found):
        raise DatasetError(
            _("{reference} has no one column for {kind}.", reference=dataset.reference, kind=kind),
            _("Give shown=, one of {columns}.", columns=", ".join(found) or _("none")),
        )
    if kind == "spans" and dataset.features[found[0]] == _TOKENS:
        names = (OUTSIDE, *(prefix + name for name in classes for prefix in ("B-", "I-")))
        return Task(kind, column, names, found[0], "token")
    return Task(kind, column, classes, found[0])


def _task(features: Mapping[str, Feature], column: str) -> Task | None:
    """Return the task of a column that is there."""
    feature = features[column]
    if isinstance(feature, ClassLabel):
        return Task("classes", column, feature.names)
    if isinstance(feature, Boxes):
        images = [name for name, other in features.items() if isinstance(other, Image)]
        return Task("boxes", column, feature.names, images[0]) if images else None
    if isinstance(feature, TokenLabels):
        tokens = [name for name, other in features.items() if other == _TOKENS]
        return Task("spans", column, feature.names, tokens[0], "token") if tokens else None
    texts = [name for name, other in features.items() if other in MARKED_TEXTS]
    if is_spans(feature) and texts:
        return Task("spans", column, dict(feature.feature.parts)["label"].names, texts[0])  # type: ignore[union-attr]
    return None
