"""Files of a version as files of this machine whose bytes are those that were saved."""

from __future__ import annotations

import os
import secrets
import stat
from functools import cache
from pathlib import Path

from armillary_kernels.texts import translator

from armillary.datasets.durable_files import sha256_of
from armillary.datasets.manifest import StoredFile
from armillary.datasets.places import Place, cache_folder, is_local
from armillary.errors import DatasetError

_ = translator(__file__)


def verified_file(folder: Place, file: StoredFile) -> Path:
    """Return the path of a version's file; one of another place is brought here once and kept.

    Raises
    ------
    DatasetError
        When it is missing or its bytes are not those that were saved.
    """
    path, status = _looked_at(folder, file)
    try:
        found = _hash_once(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise _unreadable(folder / file.file, error) from error
    if found != file.sha256:
        raise _damaged(folder, file, path)
    return path


def sized_file(folder: Place, file: StoredFile) -> Path:
    """Return the path of a version's file as `verified_file` does, but of one of this machine compare only the size.

    Raises
    ------
    DatasetError
        When it is missing or has not the size that was saved.
    """
    return _looked_at(folder, file)[0] if is_local(folder) else verified_file(folder, file)


def _looked_at(folder: Place, file: StoredFile) -> tuple[Path, os.stat_result]:
    """Return path and status of a file that may be read: what is no file (another's pipe, a device) never ends."""
    place = folder / file.file
    try:
        path = place if is_local(folder) else _fetched(place, file.sha256)
        status = path.stat()
    except OSError as error:
        raise _unreadable(place, error) from error
    if not stat.S_ISREG(status.st_mode) or status.st_size != file.bytes:
        raise _damaged(folder, file, path)
    return path, status


def _unreadable(place: Place, error: OSError) -> DatasetError:
    what = _("{path} cannot be read: {reason}.", path=place, reason=error.strerror or error)
    return DatasetError(what, _("Restore it from a backup."))


def _damaged(folder: Place, file: StoredFile, path: Path) -> DatasetError:
    if not is_local(folder):
        path.unlink(missing_ok=True)
    return DatasetError(
        _("{path} is damaged: its SHA-256 is not the one in the manifest.", path=folder / file.file),
        _("Restore the file from a backup or import the data anew."),
    )


@cache
def _hash_once(path: Path, inode: int, size: int, changed: int) -> str:
    """Hash a file once per process, and again when it changed."""
    return sha256_of(path)


def _fetched(place: Place, sha256: str) -> Path:
    """Return this machine's copy of a file of another place."""
    kept = cache_folder() / f"{sha256}{place.suffix}"
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_name(f".{kept.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        place.fs.get_file(place.path, str(aside))  # type: ignore[attr-defined] # a UPath
        aside.rename(kept)
    finally:
        aside.unlink(missing_ok=True)
    return kept
