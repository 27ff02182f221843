"""Where imported pictures come from: a folder, or a zip that is read in place and never unpacked to the disk."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from armillary_kernels.texts import translator

from armillary.errors import DatasetError
from armillary.inputs.pictures import SUFFIXES, BadPictureError

_ = translator(__file__)

MAX_UNPACKED_BYTES = 16 * 2**30
MAX_MEMBERS = 2_000_000
MAX_PICTURE_BYTES = 2**28
_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Member:
    """A picture file: its path below the root, and the class that its folder names."""

    path: str
    class_name: str


class ImageSource(Protocol):
    """A tree of files that can be listed and read."""

    def paths(self) -> list[str]:
        """Return the paths of all files below the root, with ``/`` between the parts."""

    def read(self, path: str) -> bytes:
        """Return the bytes of one file; raises BadPictureError when it cannot be read or is far too large."""


class FolderSource:
    """A folder; links to folders are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def paths(self) -> list[str]:
        """Return every file, in a fixed order."""
        found = [Path(folder, file) for folder, _, files in os.walk(self._root) for file in files]
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def read(self, path: str) -> bytes:
        """Return the bytes of one file."""
        try:
            _refuse_large((self._root / path).stat().st_size)
            return (self._root / path).read_bytes()
        except OSError as error:
            raise _unreadable(error) from error


class ZipSource:
    """A zip whose every member has been checked before the first is read."""

    def __init__(self, archive: zipfile.ZipFile, max_unpacked_bytes: int, max_members: int) -> None:
        self._archive = archive
        _check_archive(archive, max_unpacked_bytes, max_members)

    def paths(self) -> list[str]:
        """Return every file, in a fixed order."""
        return sorted(info.filename for info in self._archive.infolist() if not info.is_dir())

    def read(self, path: str) -> bytes:
        """Return the bytes of one member; zipfile reads no more than its declared size and checks its CRC."""
        _refuse_large(self._archive.getinfo(path).file_size)
        try:
            return self._archive.read(path)
        except (OSError, zlib.error, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise _unreadable(error) from error


def _refuse_large(size: int) -> None:
    if size > MAX_PICTURE_BYTES:
        raise BadPictureError(_("its {n:,} bytes are more than the allowed {limit:,}", n=size, limit=MAX_PICTURE_BYTES))


def _unreadable(error: Exception) -> BadPictureError:
    return BadPictureError(_("it cannot be read ({error})", error=error))


@contextmanager
def open_source(path: Path, max_unpacked_bytes: int, max_members: int) -> Iterator[ImageSource]:
    """Open a folder or a zip.

    Raises
    ------
    DatasetError
        When it is neither, or the zip is damaged or unsafe.
    """
    if path.is_dir():
        yield FolderSource(path)
        return
    if not path.exists():
        raise DatasetError(_("There is no file or folder {path}.", path=path), _("Check the path."))
    try:
        with zipfile.ZipFile(path) as archive:
            yield ZipSource(archive, max_unpacked_bytes, max_members)
    except zipfile.BadZipFile as error:
        raise DatasetError(
            _("{file} is no whole zip file ({error}).", file=path.name, error=error),
            _("Make the zip anew or upload it again."),
        ) from error


def _check_archive(archive: zipfile.ZipFile, max_unpacked_bytes: int, max_members: int) -> None:
    infos = archive.infolist()
    if len(infos) > max_members:
        what = _("The zip has {n:,} files; the limit is {limit:,}.", n=len(infos), limit=max_members)
        raise DatasetError(what, _("Raise max_members."))
    total = sum(info.file_size for info in infos)
    if total > max_unpacked_bytes:
        raise DatasetError(
            _("The zip unpacks to {total:,} bytes; the limit is {limit:,}.", total=total, limit=max_unpacked_bytes),
            _("Raise max_unpacked_bytes if you trust it and it is meant to be this large."),
        )
    seen: set[str] = set()
    for info in infos:
        reason = _("there are two of that name") if info.filename in seen else _unsafe(info)
        if reason:
            what = _("The zip is refused: in {file!r}, {reason}.", file=info.orig_filename, reason=reason)
            raise DatasetError(what, _("Make the zip without it."))
        seen.add(info.filename)


def _unsafe(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    mode = info.external_attr >> 16
    if "\0" in name or name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
        return _("the path is absolute")
    if ".." in parts:
        return _("the path leads out of the zip ('..')")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return _("there is a link or special file")
    if info.flag_bits & 0x1:
        return _("the file is encrypted")
    return ""


def pictures_by_class(paths: list[str]) -> tuple[list[Member], list[dict[str, str]]]:
    """Return the pictures, each with the name of the folder it lies in as its class, and what was left out and why."""
    members: list[Member] = []
    ignored: list[dict[str, str]] = []
    for path in paths:
        parts = PurePosixPath(path).parts
        if any(part in _CLUTTER or part.startswith(".") for part in parts):
            continue
        if PurePosixPath(path).suffix.lower() not in SUFFIXES:
            ignored.append({"file": path, "reason": _("not a picture by its name")})
        elif len(parts) < 2:
            ignored.append({"file": path, "reason": _("lies in no class folder")})
        else:
            members.append(Member(path, parts[-2]))
    return members, ignored
