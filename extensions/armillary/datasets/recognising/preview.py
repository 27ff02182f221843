"""A first look at files before they become a dataset: what they are taken for, their classes, a page of examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from armillary.datasets.recognising import looking_at_files, looking_at_tables
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.recognise import ways_of
from armillary.datasets.recognising.ways import Way

_LOOKS: Mapping[str, Callable[[Any, Way, int], Preview]] = {
    "table": looking_at_tables.table,
    "columns": looking_at_tables.columns,
    "sql": looking_at_tables.database,
    "numpy": looking_at_tables.numpy_file,
    "idx": looking_at_tables.idx_files,
    "images": looking_at_files.images,
    "files": looking_at_files.files,
    "boxes": looking_at_files.boxes,
    "translations": looking_at_files.translations,
    "huggingface": looking_at_files.hub,
}


def preview(path: str | Path, target: str | None = None, *, way: Way | None = None, samples: int = 60) -> Preview:
    """Look at files without saving anything.

    Parameters
    ----------
    path
        A file, a folder, a zip or a tar; where the way itself names what to read, nothing.
    target
        The column with the class, of a table; by default its last.
    way
        How to understand them: one of ``Preview.ways``, perhaps told otherwise; by default the likeliest.
    samples
        How many pictures to show at most.

    Returns
    -------
    Preview
        Its ``ways`` are all that fit; `import_as` saves what is previewed.

    Raises
    ------
    DatasetError
        When they cannot be read, as the import would say, or nothing is known to be examples.
    """
    path = Path(path).expanduser()
    ways = ways_of(path) if way is None else (way,)
    chosen = ways[0] if target is None else ways[0].told(target=target)
    return replace(_LOOKS[chosen.kind](path, chosen, samples), ways=ways)
