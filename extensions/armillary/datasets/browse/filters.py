"""Which rows of a row group a person wants to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.columns import leaves
from armillary.datasets.dataset import Dataset
from armillary.datasets.features import (
    MEDIA,
    Array,
    Boxes,
    ClassLabel,
    Feature,
    Sequence,
    Struct,
    TokenLabels,
    Translation,
    Value,
)
from armillary.datasets.kinds import TEXT
from armillary.datasets.reading.row_groups import statistics_of
from armillary.errors import DatasetError

_ = translator(__file__)

#: Stands for every column in `Filters.missing`.
ANY_COLUMN = "*"
_FLOATS = ("float16", "float32", "float64")
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Filters:
    """What is to be seen; a row has to pass all that is given.

    Attributes
    ----------
    split
        Of this split; None for all.
    class_name
        Of this class of the target.
    text
        With this text, in whatever case: in a text, a list of texts, a translation, a class's name, or the name that
        an image, sound or video was imported by.
    missing
        Without a value in this column, or in any of them (``ANY_COLUMN``): missing is what a check finds missing, an
        empty text, too, and a column of parts where one of these is.
    """

    split: str | None = None
    class_name: str | None = None
    text: str = ""
    missing: str | None = None

    @property
    def needs_reading(self) -> bool:
        """Whether the rows have to be looked at to know how many pass."""
        return bool(self.text) or self.missing is not None

    def check(self, dataset: Dataset) -> None:
        """Raise DatasetError when there is no such split, class or column."""
        known: dict[str, tuple[str | None, list[str]]] = {
            _("split"): (self.split, list(dataset.splits)),
            _("class"): (self.class_name, list(dataset.class_names)),
            _("column"): (self.missing if self.missing != ANY_COLUMN else None, list(dataset.features)),
        }
        for kind, (name, names) in known.items():
            if name is not None and name not in names:
                listed = ", ".join(names) or _("none")
                raise DatasetError(
                    _("{dataset} has no {kind} {name!r}.", dataset=dataset.reference, kind=kind, name=name),
                    _("There are: {names}.", names=listed),
                )


@dataclass(frozen=True)
class Test:
    """A question to the rows of a row group.

    Attributes
    ----------
    columns
        Columns of the shards that it reads; ``"image.path"`` is the path alone, without the image.
    passes
        Returns which rows of a table with these columns pass.
    may_pass
        Returns whether any row of a group can pass, by the statistics of its footer (a ``RowGroupMetaData``).
    """

    columns: tuple[str, ...]
    passes: Callable[[pa.Table], Mask]
    may_pass: Callable[[Any], bool] = lambda _group: True


def tests_of(filters: Filters, dataset: Dataset) -> list[Test]:
    """Return the tests that reading answers, the quickest first; the split is known without."""
    features = dataset.features
    tests = []
    if filters.class_name is not None and dataset.target is not None:
        tests.append(_class_test(dataset.target, dataset.class_names.index(filters.class_name)))
    if filters.missing is not None:
        names = list(features) if filters.missing == ANY_COLUMN else [filters.missing]
        tests.append(_missing_test({name: features[name] for name in names}))
    if filters.text:
        tests.append(_text_test(features, filters.text))
    return tests


def light_column(name: str, feature: Feature) -> str:
    """Return what to read of a column to know all of it but the bytes of its media."""
    return f"{name}.path" if isinstance(feature, tuple(MEDIA.values())) else name


def _class_test(column: str, code: int) -> Test:
    def may_pass(group: Any) -> bool:
        statistics = statistics_of(group, column)
        return statistics is None or not statistics.has_min_max or statistics.min <= code <= statistics.max

    return Test((column,), lambda table: _filled(pc.equal(table[column], code)), may_pass)


def _missing_test(features: Mapping[str, Feature]) -> Test:
    def passes(table: pa.Table) -> Mask:
        return _any([leaf.missing(leaf.values(table)) for leaf in leaves(features)], len(table))

    def may_pass(group: Any) -> bool:
        return any(_may_be_missing(statistics_of(group, name), feature) for name, feature in features.items())

    return Test(tuple(light_column(*item) for item in features.items()), passes, may_pass)


def _may_be_missing(statistics: Any, feature: Feature) -> bool:
    """Return whether a column of one value a row may lack one, as its footer says: not of NaN, nor of empty texts."""
    if statistics is None or not statistics.has_null_count or statistics.null_count:
        return True
    if isinstance(feature, ClassLabel):
        return not statistics.has_min_max or statistics.min < 0
    return not isinstance(feature, Value) or feature.dtype in _FLOATS or feature.dtype in TEXT


def _text_test(features: Mapping[str, Feature], text: str) -> Test:
    searched = {name: feature for name, feature in features.items() if _has_text(feature)}

    def passes(table: pa.Table) -> Mask:
        masks = [_with_text(table[name].combine_chunks(), feature, text) for name, feature in searched.items()]
        return _any(masks, len(table))

    return Test(tuple(light_column(*item) for item in searched.items()), passes)


def _has_text(feature: Feature) -> bool:
    if isinstance(feature, Value):
        return feature.dtype in TEXT
    if isinstance(feature, Sequence):
        return _has_text(feature.feature)
    if isinstance(feature, Struct):
        return any(_has_text(part) for _name, part in feature.parts)
    return not isinstance(feature, Array)


def _with_text(column: Any, feature: Feature, text: str) -> Mask:
    """Return which values have the text in them."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if isinstance(feature, ClassLabel):
        codes = [code for code, name in enumerate(feature.names) if text.casefold() in name.casefold()]
        return _filled(pc.is_in(column, value_set=pa.array(codes, column.type)))
    if isinstance(feature, (TokenLabels, Boxes)):
        return _with_text(column, feature.plain, text)
    if isinstance(feature, Sequence):
        return _in_lists(column, feature.feature, text)
    if isinstance(feature, Value):
        return _filled(pc.match_substring(plain_texts(column), text, ignore_case=True))
    return _any([_with_text(part, kind, text) for part, kind in _parts(column, feature)], len(column))


def plain_texts(column: Any) -> Any:
    """Return texts as Arrow's functions of texts take them: they know no views."""
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _in_lists(column: Any, feature: Feature, text: str) -> Mask:
    found = np.zeros(len(column), bool)
    if _has_text(feature):
        parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        found[parents[_with_text(pc.list_flatten(column), feature, text)]] = True
    return found


def _parts(column: Any, feature: Feature) -> Iterator[tuple[Any, Feature]]:
    """Yield the parts of a struct that may have text."""
    string = Value("string")
    if isinstance(feature, Struct):
        parts: Mapping[str, Feature] = {name: part for name, part in feature.parts if _has_text(part)}
    elif isinstance(feature, Translation):
        parts = {"translation": Sequence(string)} if feature.variable else dict.fromkeys(feature.languages, string)
    else:
        parts = {"path": string}
    for name, part in parts.items():
        yield pc.struct_field(column, name), part


def _filled(mask: Any) -> Mask:
    """Return a mask of Arrow's with False where there is no answer."""
    values: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False) if isinstance(mask, pa.Array) else (
        pc.fill_null(mask, False).to_numpy()
    )  # fmt: skip
    return values.astype(bool)


def _any(masks: list[Mask], rows: int) -> Mask:
    return reduce(np.logical_or, masks, np.zeros(rows, bool))
