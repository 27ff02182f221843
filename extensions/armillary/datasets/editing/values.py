"""New values of rows: checked as an import checks them, and shown as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import MARKED_TEXTS, MEDIA, Feature, TokenLabels, Value, is_spans
from armillary.datasets.features import Sequence as Listed
from armillary.datasets.importing.encoding import encode
from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.media import BadMediumError
from armillary.datasets.plain_values import plain_value
from armillary.errors import DatasetError

if TYPE_CHECKING:
    from armillary.datasets.editing.edits import Edits

_ = translator(__file__)

_EXAMPLE = '{"text": "…"}'


def checked_rows(dataset: Dataset, rows: int | Iterable[int]) -> tuple[int, ...]:
    """Return row numbers as a tuple of whole numbers.

    Raises
    ------
    DatasetError
        When one is none or there is no such row.
    """
    given = [rows] if isinstance(rows, (int, np.integer)) else np.asarray(_listed(rows)).ravel().tolist()
    for row in given:
        if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not 0 <= row < len(dataset):
            raise DatasetError(
                _("{reference} has no row {row!r}.", reference=dataset.reference, row=row),
                _("Rows are numbered from 0 to {last}.", last=len(dataset) - 1),
            )
    return tuple(int(row) for row in given)


def _listed(rows: Any) -> Any:
    """Return row numbers as NumPy takes them: it makes one object of a set."""
    return rows if isinstance(rows, (np.ndarray, Sequence)) or not isinstance(rows, Iterable) else list(rows)


def one_for_each(given: Any, rows: Sequence[int]) -> list[Any]:
    """Return one value for each row of a list of values, or of one for all."""
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        return [given] * len(rows)
    values = list(given)
    if len(values) != len(rows):
        raise DatasetError(
            _("There are {n} values for {rows} rows.", n=len(values), rows=len(rows)),
            _("Give one for each row, or one for all."),
        )
    return values


def stored_values(edits: Edits, rows: Sequence[int], values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return new values of rows, one mapping each, as their features store them.

    Raises
    ------
    DatasetError
        When one does not fit; the error names row and column.
    """
    features = edits.features
    found = []
    for row, given in zip(rows, values, strict=True):
        try:
            if not isinstance(given, Mapping):
                raise BadExampleError(_("{value!r} names no column, as {example} does", value=given, example=_EXAMPLE))
            stored = {name: _stored(features.get(name), name, value, edits.target) for name, value in given.items()}
            _check_tokens(edits, row, stored)
            _check_spans(edits, row, stored)
        except BadExampleError as error:
            raise DatasetError(
                _("Row {row} of {reference}: {reason}.", row=row, reference=edits.dataset.reference, reason=error),
                _("Give a value that fits the column."),
            ) from error
        found.append(stored)
    return found


def _stored(feature: Feature | None, name: str, value: Any, target: str | None) -> Any:
    if feature is None:
        raise BadExampleError(_("unknown column {name!r}", name=name))
    if value is None and name == target:
        raise BadExampleError(_("no value for {target!r}", target=target))
    try:
        return encode(feature, value, _refuse_medium)
    except (BadExampleError, BadMediumError) as error:
        raise BadExampleError(_("{column!r}: {reason}", column=name, reason=error)) from error


def _refuse_medium(_data: bytes, _path: str) -> dict[str, Any]:
    raise BadExampleError(_("images, sounds and videos cannot be changed here: import them anew"))


def _check_tokens(edits: Edits, row: int, stored: Mapping[str, Any]) -> None:
    """Refuse labels that are not one for each token, where only one column can hold the tokens."""
    features = edits.features
    texts = [name for name, feature in features.items() if feature == Listed(Value("string"))]
    tags = [name for name, feature in features.items() if isinstance(feature, TokenLabels)]
    if len(texts) != 1 or not stored.keys() & {texts[0], *tags}:
        return
    tokens = stored[texts[0]] if texts[0] in stored else edits.value(row, texts[0])
    for name in tags:
        labels = stored[name] if name in stored else edits.value(row, name)
        if labels is not None and len(labels) != len(tokens or ()):
            n, count = len(labels), len(tokens or ())
            raise BadExampleError(_("{column!r}: {n} labels for {tokens} tokens", column=name, n=n, tokens=count))


def _check_spans(edits: Edits, row: int, stored: Mapping[str, Any]) -> None:
    """Refuse spans that end beyond their text, where only one column can hold that."""
    features = edits.features
    texts = [name for name, feature in features.items() if feature in MARKED_TEXTS]
    marks = [name for name, feature in features.items() if is_spans(feature)]
    if len(texts) != 1 or not stored.keys() & {texts[0], *marks}:
        return
    for name in marks:
        spans = stored[name] if name in stored else edits.value(row, name)
        if spans:
            text = stored[texts[0]] if texts[0] in stored else edits.value(row, texts[0])
            end, length = max(span["end"] for span in spans), len(text or "")
            if end > length:
                raise BadExampleError(
                    _("{column!r}: a mark ends at {end}, the text at {length}", column=name, end=end, length=length)
                )


def shown_value(feature: Feature, stored: Any) -> Any:
    """Return a stored value with the names of its classes."""
    assert not isinstance(feature, tuple(MEDIA.values()))  # noqa: S101 (they cannot be set)
    return plain_value(feature, stored, lambda value: value)
