"""Folders that divide their files: ``train``, ``validation`` and ``test``, which are not shuffled into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from armillary.datasets.splits import known_name

#: What the recipe of an import says then.
FOLDERS = {"split": "folders"}


def splits_of(paths: Sequence[str], folders_below: int = 0) -> list[str] | None:
    """Return the split that each file's folder names; None where not every file lies in such a folder.

    Parameters
    ----------
    paths
        Of files, such as ``birds/train/crow/1.png``. The folders that divide them all lie equally deep.
    folders_below
        How many folders lie between such a folder and its files at least: 1 where they tell the class.
    """
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    depth = min((len(parts) for parts in folders), default=0) - folders_below
    for level in range(depth):
        names = [known_name(parts[level]) for parts in folders]
        if "train" in names and len(set(names)) > 1 and None not in names:
            return [name for name in names if name is not None]
    return None
