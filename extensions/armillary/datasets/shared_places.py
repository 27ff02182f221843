"""The folders of shared datasets that this account can see (`armillary_kernels.shared_datasets`)."""

from __future__ import annotations

import getpass
import grp
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from armillary_kernels.shared_datasets import NAME_FILE, VARIABLE


@dataclass(frozen=True)
class Shelf:
    """What one person shares with one group: a store, of which the person is the owner."""

    folder: Path
    group: str

    @property
    def owner(self) -> str:
        """The person."""
        return self.folder.name


def person() -> str:
    """Return who works here."""
    return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()


def shared_folder() -> Path | None:
    """Return where shared datasets lie, None outside a deployment."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def shelves() -> Iterator[Shelf]:
    """Yield what is shared with the groups of this person: in each of them the person has a folder, too."""
    shared = shared_folder()
    for folder in _group_folders(shared) if shared is not None else ():
        with suppress(OSError):  # another's group, where all people are one account
            (folder / person()).stat()
            group = (folder / NAME_FILE).read_text(encoding="utf-8").strip()
            for own in sorted(folder.iterdir()):
                if not own.name.startswith("."):
                    yield Shelf(own, group)


def _group_folders(shared: Path) -> list[Path]:
    """Return the folders that may be entered; in team mode nobody can list them, but each knows the own groups."""
    try:
        return sorted(folder for folder in shared.iterdir() if folder.is_dir())
    except OSError:
        return sorted(shared / group for group in _own_groups() if (shared / group).is_dir())


def _own_groups() -> Iterator[str]:
    for gid in os.getgroups():
        with suppress(KeyError):
            yield grp.getgrgid(gid).gr_name


def owner_of(folder: Path) -> str | None:
    """Return whose a version is that lies among the shared ones, None for one's own."""
    shared = shared_folder()
    if shared is None or not isinstance(folder, Path) or shared not in folder.parents:
        return None
    return folder.relative_to(shared).parts[1]
