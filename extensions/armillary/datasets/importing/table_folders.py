"""Tables that consist of several files with the same columns: a folder, a zip or a tar of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets.importing.columns import PLACE, SPLIT
from armillary.datasets.importing.rejects import Rejects
from armillary.datasets.importing.sources import copy_out, is_archive, open_source
from armillary.datasets.importing.split_folders import splits_of
from armillary.datasets.importing.table_files import is_table, read_part, read_rows, refuse_empty
from armillary.errors import DatasetError

_ = translator(__file__)


def tables_among(paths: Sequence[str]) -> list[str]:
    """Return the files that are tables by their names; plain texts are so only when they are named themselves."""
    return [path for path in paths if is_table(path) and not path.lower().endswith(".txt")]


def read_tables(path: Path, encoding: str, rejects: Rejects) -> pd.DataFrame:
    """Return what `read_rows` does, of one file or of all in a folder or an archive, one below the other.

    The column `SPLIT` is there when files or folders are named train, validation and test.

    Raises
    ------
    DatasetError
        When one of them cannot be read, there is none, or their columns differ.
    """
    if not path.is_dir() and not is_archive(path):
        return read_rows(path, encoding, rejects)
    frames: dict[str, pd.DataFrame] = {}
    with open_source(path) as source, tempfile.TemporaryDirectory(prefix="armillary-table-") as folder:
        for name in tables_among(source.paths()):
            part = Path(folder, PurePosixPath(name).name)
            copy_out(source, name, part)
            with rejects.within(name):
                frames[name] = read_part(part, encoding, rejects)
            part.unlink()
    if not frames:
        what = _("In {place} there is no table.", place=path.name)
        raise DatasetError(what, _("Give CSV, JSON, Parquet or Arrow files."))
    frames = {name: frame for name, frame in frames.items() if len(frame)}
    refuse_empty(next(iter(frames.values()), pd.DataFrame()), path, rejects)
    _check_same_columns(frames)
    splits = splits_of([f"{PurePosixPath(name).parent}/{PurePosixPath(name).name.split('.')[0]}/*" for name in frames])
    for number, (name, frame) in enumerate(frames.items()):
        places = frame[PLACE] if PLACE in frame else [_("row {row}", row=row) for row in range(1, len(frame) + 1)]
        frame[PLACE] = [_("{file}, {place}", file=name, place=place) for place in places]
        if splits is not None:
            frame[SPLIT] = splits[number]
    return pd.concat(frames.values(), ignore_index=True)


def _check_same_columns(frames: dict[str, pd.DataFrame]) -> None:
    (first, expected), *others = ((name, set(frame.columns) - {PLACE}) for name, frame in frames.items())
    for name, columns in others:
        if columns != expected:
            differing = ", ".join(map(repr, sorted(columns ^ expected)[:10]))
            raise DatasetError(
                _("{file} has other columns than {first}: {columns}.", file=name, first=first, columns=differing),
                _("Give them the same columns, or import them one by one."),
            )
