"""Files that are on disk when they are said to be, with their hash taken on the way."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from armillary.datasets.manifest import StoredFile


class HashingFile(io.RawIOBase):
    """A new file that keeps the SHA-256 and size of what is written to it; `commit` brings it to the disk.

    A write that failed is the last one: Arrow tries to write again when it closes a file, and once more when it forgets
    it, where nobody can be told and where it would format a traceback in the midst of whatever runs then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self._size = 0
        self._failed = False

    def writable(self) -> bool:  # noqa: D102 (io.RawIOBase)
        return True

    def write(self, data: Any) -> int:  # noqa: D102 (io.RawIOBase)
        if self._failed:
            return len(data)
        try:
            self._file.write(data)
        except (OSError, ValueError):
            self._failed = True
            raise
        self._hash.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:  # noqa: D102 (io.RawIOBase)
        return self._size

    def commit(self, rows: int) -> StoredFile:
        """Flush to the disk and return the file's description."""
        if self._failed:
            raise ValueError(f"{self.path.name} was not written to its end")
        self._file.flush()
        os.fsync(self._file.fileno())
        return StoredFile(self.path.name, rows, self._size, self._hash.hexdigest())

    def close(self) -> None:  # noqa: D102 (io.RawIOBase)
        if not self.closed:
            try:
                self._file.close()
            finally:
                super().close()


@contextmanager
def new_file(path: Path) -> Iterator[HashingFile]:
    """Open a `HashingFile` and close it at the end."""
    file = HashingFile(path)
    try:
        yield file
    finally:
        file.close()


def write_text(path: Path, text: str) -> None:
    """Write a small text file and bring it to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def copy(source: Path, destination: Path) -> None:
    """Copy a file and bring the copy to the disk."""
    with source.open("rb") as old, destination.open("xb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
