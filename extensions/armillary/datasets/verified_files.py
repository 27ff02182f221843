"""Files of a version as files of this machine whose bytes are those that were saved."""

from __future__ import annotations

import os
import secrets
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
    place = folder / file.file
    try:
        path = place if is_local(folder) else _fetched(place, file.sha256)
        status = path.stat()
        found = _hash_once(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        what = _("{path} cannot be read: {reason}.", path=place, reason=error.strerror or error)
        raise DatasetError(what, _("Restore it from a backup.")) from error
    if found != file.sha256:
        if not is_local(folder):
            path.unlink(missing_ok=True)
        raise DatasetError(
            _("{path} is damaged: its SHA-256 is not the one in the manifest.", path=place),
            _("Restore the file from a backup or import the data anew."),
        )
    return path


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
