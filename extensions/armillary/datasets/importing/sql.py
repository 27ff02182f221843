"""Import of what a database answers to a query."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Feature
from armillary.datasets.importing.databases import BATCH, answer, shown
from armillary.datasets.importing.examples import Row, SaveOptions, save_rows
from armillary.datasets.importing.rejects import Rejects
from armillary.datasets.importing.tables import save_typed
from armillary.datasets.names import one_or_several
from armillary.datasets.splits import DEFAULT_SHARES, checked_shares
from armillary.datasets.store import check_name
from armillary.errors import DatasetError

if TYPE_CHECKING:
    from sqlalchemy import URL, CursorResult, Engine, Executable

_ = translator(__file__)

_KEPT = (bool, int, float, str, bytes, datetime.datetime, list, dict)


def import_sql(
    query: str | Executable,
    database: str | URL | Engine,
    name: str,
    *,
    target: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    features: Mapping[str, Feature] | None = None,
    text: str | Sequence[str] = (),
    **options: Unpack[SaveOptions],
) -> Dataset:
    """Save the rows that a database answers to a query as a dataset.

    Parameters
    ----------
    query
        SQL, or a statement of SQLAlchemy's. Whatever it changes is not committed.
    database
        A URL such as ``"postgresql://user:password@host/name"`` or ``"sqlite:///data.sqlite"``, or an SQLAlchemy
        engine. Better than writing a password into a notebook is to read it from the environment.
    name
        The dataset's name. When it is taken by a dataset of the same form, this becomes its next version.
    target
        The column with the class, if there is one.
    parameters
        The values of ``:name`` in the query. They are kept neither in the manifest nor in errors.
    features
        A feature for each column: then the rows may be more than memory holds, and bytes may be images, sounds or
        videos. By default the columns are understood as by `import_table`, and are held in memory; texts are texts.
    text
        The column, or columns, that are text even where they look like categories.
    options
        See `SaveOptions`.

    Raises
    ------
    DatasetError
        When the database cannot be reached or refuses the query, there are no rows, one cannot be used, or nothing can
        be written.

    Examples
    --------
    >>> url = os.environ["SALES_DATABASE"]
    >>> datasets.import_sql("SELECT size, colour, sold FROM items", url, "items", target="sold")
    """
    check_name(name)
    checked_shares(options.get("split", DEFAULT_SHARES))
    step = {"step": "import_sql", "query": str(query)}
    with answer(query, database, parameters) as result:
        options.setdefault("source", shown(database))
        columns = _columns(result)
        if features is not None:
            _check_features(columns, features)
            return save_rows(_rows(result, columns), features, name, target, step, **options)
        frame, declared = _frame(result, columns)
    rejects = Rejects(options.get("on_error", "stop"), options["source"])
    texts = one_or_several(text)
    _check_table(frame, [*([target] if target is not None else []), *texts])
    return save_typed(
        frame, rejects, name, target, text=texts, declared=declared, step=step,
        split=options.get("split", DEFAULT_SHARES), seed=options.get("seed", 0), source=options["source"],
        licence=options.get("licence", ""), progress=options.get("progress"),
    )  # fmt: skip


def _columns(result: CursorResult[Any]) -> list[str]:
    columns = [str(column) for column in result.keys()]  # noqa: SIM118 (a result is no mapping)
    repeated = next((column for column in columns if columns.count(column) > 1), None)
    if repeated is not None:
        what = _("Two columns are called {name!r}.", name=repeated)
        raise DatasetError(what, _("Give each a name of its own, with AS."))
    return columns


def _check_features(columns: Sequence[str], features: Mapping[str, Feature]) -> None:
    for found, known in ((columns, features), (features, columns)):
        other = next((column for column in found if column not in known), None)
        if other is not None:
            what = _("The features and the columns of the query differ in {name!r}.", name=other)
            raise DatasetError(what, _("Name each column once in both."))


def _rows(result: CursorResult[Any], columns: Sequence[str]) -> Iterator[Row]:
    number = 0
    for batch in result.partitions(BATCH):
        for values in batch:
            number += 1
            example = dict(zip(columns, map(_plain, values), strict=True))
            yield Row(_("row {row}", row=number), partial(dict, example), partial(_raw, example))


def _raw(example: Mapping[str, Any]) -> bytes:
    return repr(dict(example)).encode()


def _plain(value: Any) -> Any:
    """Return a value of one of the kinds that columns consist of; numbers of fixed point become floats."""
    if value is None or isinstance(value, _KEPT):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001 (a day has no time zone)
    return bytes(value) if isinstance(value, memoryview) else str(value)


def _frame(result: CursorResult[Any], columns: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows, and the columns of which all values are texts."""
    kinds: list[set[type]] = [set() for _column in columns]
    parts: list[list[pd.Series]] = [[] for _column in columns]
    for batch in result.partitions(BATCH):
        for index, values in enumerate(zip(*batch, strict=True)):
            plain = [_plain(value) for value in values]
            found = {type(value) for value in plain if value is not None}
            kinds[index] |= found
            parts[index].append(_series(plain, found))
    _refuse_bytes(columns, kinds)
    if not columns or not parts[0]:
        raise DatasetError(_("The query gives no rows."), _("Check its conditions."))
    whole = [_united(part, kind) for part, kind in zip(parts, kinds, strict=True)]
    frame = pd.concat(whole, axis=1, keys=columns)
    return frame, [column for column, kind in zip(columns, kinds, strict=True) if kind == {str}]


def _series(values: Sequence[Any], kinds: set[type]) -> pd.Series:
    """Return a part of a column, as small as its kind allows."""
    if kinds == {int}:
        try:
            return pd.Series(values, dtype="Int64")
        except OverflowError:
            return pd.Series(values, dtype="float64")
    if kinds in ({float}, {int, float}):
        return pd.Series(values, dtype="float64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    return pd.Series(values, dtype="str" if kinds == {str} else "object")


def _united(parts: Sequence[pd.Series], kinds: set[type]) -> pd.Series:
    """Return a whole column; one of several kinds becomes text."""
    column = pd.concat([part.astype("object") for part in parts] if len(kinds) > 1 else parts, ignore_index=True)
    if kinds and kinds <= {int, float}:
        return column.astype("float64") if float in kinds else column
    if kinds == {datetime.datetime}:
        aware = any(value is not None and value.tzinfo is not None for value in column.head(BATCH))
        return pd.to_datetime(column, utc=aware)
    if len(kinds) > 1 and not kinds & {list, dict}:
        return column.map(str, na_action="ignore").astype("str")
    return column


def _refuse_bytes(columns: Sequence[str], kinds: Sequence[set[type]]) -> None:
    column = next((column for column, kind in zip(columns, kinds, strict=True) if bytes in kind), None)
    if column is not None:
        what = _("Column {name!r} holds bytes.", name=column)
        raise DatasetError(what, _("Say what they are with features=, or leave the column out of the query."))


def _check_table(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        listed = ", ".join(map(repr, frame.columns))
        what = _("The query gives no column {name!r}; columns: {listed}.", name=missing[0], listed=listed)
        raise DatasetError(what, _("Name one of these."))
