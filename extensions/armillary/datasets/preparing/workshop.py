"""The hidden folder where finished units wait until all are there.

It is named by all that decides about their bytes, so that a run that was killed goes on where it was when the same is
prepared again. A unit becomes visible here whole, by a rename; a version becomes visible in the store when all units
have been given names in it (see `armillary.datasets.saving`). What nobody came back for is removed after a week.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from armillary.datasets.durable_files import sync_folder
from armillary.datasets.places import Place, cache_folder, is_local
from armillary.datasets.preparing.units import RESULT, Done
from armillary.datasets.saving import DISK_FULL

_NAME = ".preparing"
_LOCK, _CANCELLED = "lock", "cancelled"
_KEPT_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Workshop:
    """The folder of one preparation; only one at a time has it."""

    folder: Path

    @property
    def cancelled(self) -> Path:
        """The file that says that nobody wants the rest any more."""
        return self.folder / _CANCELLED

    def place_of(self, unit: int) -> Path:
        """Return where a unit lies when it is finished."""
        return self.folder / f"unit-{unit:06d}"

    def finished(self, units: int, *, refused_again: bool = False) -> dict[int, Done]:
        """Return the units that are finished.

        Parameters
        ----------
        refused_again
            Do those anew in which examples were refused: what a person's function could not do once, as a service did
            not answer, it may do now.
        """
        there = [unit for unit in range(units) if (self.place_of(unit) / RESULT).exists()]
        found = {unit: Done.read(self.place_of(unit)) for unit in there}
        anew = [unit for unit, done in found.items() if refused_again and done.refused]
        for unit in anew:
            shutil.rmtree(self.place_of(unit))
            del found[unit]
        return found

    def abandon(self) -> None:
        """Let those who are at work stop."""
        with contextlib.suppress(OSError):
            self.cancelled.touch()

    def clear(self) -> None:
        """Remove it all."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def aside(folder: Path, finished: Path) -> Iterator[Path | None]:
    """Yield a folder to do a unit in, which then is named ``finished``; None when that one is there already."""
    if (finished / RESULT).exists():
        yield None
        return
    new = folder / f".{finished.name}-{secrets.token_hex(4)}"
    new.mkdir()
    try:
        yield new
        sync_folder(new)
        with contextlib.suppress(OSError):  # another worker, thought dead, was faster: with the same bytes
            new.rename(finished)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def workshop(store: Place, decides: Sequence[object]) -> Iterator[Workshop]:
    """Yield the workshop of a preparation.

    It stays as it is when the block fails, so that the next one goes on, unless the disk is full, or another run has it
    now: then this one works in a folder of its own, which goes with it.

    Parameters
    ----------
    store
        The dataset store; for one that is no folder of this machine, the workshop is in the cache.
    decides
        All that the bytes of the units depend on.
    """
    parent = (store if is_local(store) else cache_folder()) / _NAME
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    name = hashlib.sha256(repr(decides).encode()).hexdigest()[:32]
    with _locked(parent / name) as lock:
        found = Workshop(parent / name if lock else parent / f"{name}-{secrets.token_hex(4)}")
        found.folder.mkdir(exist_ok=True)
        found.cancelled.unlink(missing_ok=True)
        _remove_halves(found.folder)
        try:
            yield found
        except OSError as error:
            if error.errno in DISK_FULL:  # what is hidden must not be what fills it
                found.clear()
            raise
        finally:
            if not lock:
                found.clear()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock if nobody else does; the system lets go of it when this process ends, however that is."""
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        os.utime(folder)
        yield True


def _remove_halves(folder: Path) -> None:
    for half in folder.glob(".unit-*"):
        shutil.rmtree(half, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                with _locked(folder) as free:
                    if free:
                        shutil.rmtree(folder, ignore_errors=True)
