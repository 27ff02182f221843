"""What has arrived of an uploaded file, kept on disk so that any kernel of the person's can go on with it.

Guarantees
----------
A part is found again by the file's name, size and time of change; the CRC-32 of its bytes tells whether the file that
the browser has now begins alike. (SHA-256 in a browser needs HTTPS, which a hub in a lab may lack, and nobody has to
be kept from deceiving themselves.) Whoever begins last owns a part: an older page that still sends is told so. A piece
is written whole or not at all, also on a full disk. Nothing that a browser says becomes a path but the last part of
the name, and that one only with a suffix that was asked for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from armillary_kernels.texts import translator

from armillary.datasets.places import uploads_folder
from armillary.errors import DatasetError

_ = translator(__file__)

#: What nobody has touched for so long is removed, seconds.
KEPT = 7 * 24 * 3600
_FREE_AFTERWARDS = 64 * 2**20
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PART, _OWNER = "part", "owner"
_BLOCK = 2**22


class MissingPieceError(Exception):
    """A piece does not follow on what is there; the browser has to look where it was."""


@dataclass(frozen=True)
class Announced:
    """What a browser says of a file: its name, its size in bytes and when it was changed, in milliseconds."""

    name: str
    size: int
    modified: int

    @property
    def key(self) -> str:
        """What the file's folder is called."""
        described = f"{self.name}\n{self.size}\n{self.modified}"
        return hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def plain_name(name: str, suffixes: Sequence[str]) -> str:
    """Return the last part of a file's name.

    Raises
    ------
    DatasetError
        When it does not end in one of ``suffixes``, or cannot be a file's name.
    """
    plain = PurePosixPath(str(name).replace("\\", "/")).name
    if not plain.lower().endswith(tuple(suffixes)) or plain.lower() in suffixes or not plain.isprintable():
        what = _("{name} cannot be imported.", name=plain[:80] or _("A file without a name"))
        raise DatasetError(what, _("Give one of these: {kinds}.", kinds=", ".join(suffixes)))
    if len(plain.encode("utf-8", "surrogatepass")) > 200:
        raise DatasetError(_("The name {name}… is too long.", name=plain[:40]), _("Give the file a shorter one."))
    return plain


class Upload:
    """A file that arrives in pieces.

    Parameters
    ----------
    announced
        What the browser said of it; its name is a `plain_name`.
    folder
        Where uploads lie; ``~/.cache/armillary/uploads`` unless given.

    Attributes
    ----------
    received
        How many bytes of it are there, from the first on.

    Raises
    ------
    DatasetError
        When the disk has no room for the rest.
    OSError
        When nothing can be written.
    """

    def __init__(self, announced: Announced, folder: Path | None = None) -> None:
        self.announced = announced
        self._folder = (folder or uploads_folder()) / announced.key
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._token = secrets.token_hex(8)
        self.received = 0
        with self._opened() as part:
            (self._folder / _OWNER).write_text(self._token)
            self.received = min(os.fstat(part).st_size, announced.size)
            os.ftruncate(part, self.received)
        self._check_room()

    @property
    def path(self) -> Path:
        """Where the whole file is, or will be."""
        return self._folder / self.announced.name

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.received == self.announced.size

    def _check_room(self) -> None:
        free = shutil.disk_usage(self._folder).free - _FREE_AFTERWARDS
        missing = self.announced.size - self.received
        if missing > free:
            if not self.received:  # what has arrived stays: there may be room for the rest another time
                self.cancel()
            raise DatasetError(
                _("The upload needs {size} MB, but {free} MB are free.", size=missing >> 20, free=max(0, free >> 20)),
                _("Free space, or set ARMILLARY_CACHE to another disk."),
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the part (or the whole file, of an upload that had ended) for this process alone."""
        path = self.path if self.path.exists() else self._folder / _PART
        part = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(part, fcntl.LOCK_EX)
            yield part
        finally:
            os.close(part)

    @contextlib.contextmanager
    def _owned(self) -> Iterator[int]:
        with self._opened() as part:
            if (self._folder / _OWNER).read_text() != self._token:
                what = _("The upload of {name} goes on in another window.", name=self.announced.name)
                raise DatasetError(what, _("Look there."))
            yield part

    def checksum(self) -> int:
        """Return the CRC-32 of what is there."""
        checksum = 0
        with self._owned() as part, os.fdopen(os.dup(part), "rb") as file:
            file.seek(0)
            while block := file.read(_BLOCK):
                checksum = zlib.crc32(block, checksum)
        return checksum

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Add a piece.

        Raises
        ------
        MissingPieceError
            When it does not follow on what is there.
        DatasetError
            When the upload goes on in another window, or the disk is full; what is there stays.
        ValueError
            When it is longer than the file.
        """
        if offset != self.received:
            raise MissingPieceError
        if offset + len(data) > self.announced.size:
            raise ValueError("there is more than was announced")
        with self._owned() as part:
            try:
                _write_all(part, memoryview(data), offset)
            except OSError as error:
                os.ftruncate(part, self.received)
                raise _in_words(error, self.announced.name) from error
        self.received += len(data)

    def restart(self) -> None:
        """Forget what is there: the browser's file begins otherwise."""
        with self._owned() as part:
            os.ftruncate(part, 0)
        if self.path.exists():
            self.path.rename(self._folder / _PART)
        self.received = 0

    def finish(self) -> Path:
        """Give the whole file its name and return its path."""
        with self._owned():
            if not self.path.exists():
                (self._folder / _PART).rename(self.path)
        return self.path

    def cancel(self) -> None:
        """Remove what is there, unless it goes on in another window."""
        with contextlib.suppress(OSError, DatasetError), self._owned():
            shutil.rmtree(self._folder, ignore_errors=True)


def _write_all(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _in_words(error: OSError, name: str) -> DatasetError:
    if error.errno in _DISK_FULL:
        return DatasetError(
            _("The disk is full: the upload of {name} has stopped.", name=name),
            _("Free space and give the same file again; it goes on where it stopped."),
        )
    return DatasetError(
        _("{name} cannot be stored: {reason}.", name=name, reason=error.strerror or error),
        _("Give the same file again; it goes on where it stopped."),
    )


def remove_old_uploads(folder: Path | None = None) -> None:
    """Remove what nobody has touched for a week."""
    folder = folder or uploads_folder()
    oldest = time.time() - KEPT
    for place in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            if max(file.stat().st_mtime for file in (place, *place.iterdir())) < oldest:
                shutil.rmtree(place, ignore_errors=True)


def forget(path: Path, folder: Path | None = None) -> None:
    """Remove a whole upload that has been imported; another file is left alone."""
    if path.parent.parent == (folder or uploads_folder()):
        shutil.rmtree(path.parent, ignore_errors=True)
