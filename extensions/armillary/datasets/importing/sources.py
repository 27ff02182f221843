"""Where imported files come from: a folder, a zip or a tar. Archives are read in place, never unpacked by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from armillary_kernels.texts import translator

from armillary.errors import DatasetError

_ = translator(__file__)

MAX_UNPACKED_BYTES = 16 * 2**30
MAX_MEMBERS = 2_000_000
MAX_FILE_BYTES = 2**31
_TAR_OVERHEAD = 2**26  # headers and padding
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
#: Tried in this order on names of zips that do not say they are UTF-8; China's archivers write GBK.
_NAME_ENCODINGS = ("utf-8", "gb18030")
_TAR_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


class BadFileError(ValueError):
    """A file that cannot be read or is far too large; the message says why."""


class FileSource(Protocol):
    """A tree of files that can be listed and read."""

    def paths(self) -> list[str]:
        """Return the paths of all files below the root, with ``/`` between the parts, in a fixed order."""

    def read(self, path: str) -> bytes:
        """Return the bytes of one file; raises BadFileError when it cannot be read or is far too large."""

    def ignored(self) -> list[dict[str, str]]:
        """Return what was passed over, each with its reason."""


class FolderSource:
    """A folder; links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: list[str] = []
        self._ignored: list[dict[str, str]] = []
        inside = root.resolve()
        for folder, _folders, files in os.walk(root):
            for path in (Path(folder, file) for file in files):
                self._sort_out(path, inside)

    def _sort_out(self, path: Path, inside: Path) -> None:
        name = path.relative_to(self._root).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            self._ignored.append({"file": name, "reason": _("a link that leads out of the folder")})
        elif path.is_file() and not _is_clutter(name):
            self._paths.append(name)

    def paths(self) -> list[str]:
        """Return every file, in a fixed order."""
        return sorted(self._paths)

    def ignored(self) -> list[dict[str, str]]:
        """Return the links that were not followed."""
        return sorted(self._ignored, key=lambda entry: entry["file"])

    def read(self, path: str) -> bytes:
        """Return the bytes of one file."""
        try:
            _refuse_large((self._root / path).stat().st_size)
            return (self._root / path).read_bytes()
        except OSError as error:
            raise _unreadable(error) from error


class ZipSource:
    """A zip whose every member has been checked before the first is read."""

    def __init__(self, archive: zipfile.ZipFile, place: str, max_unpacked_bytes: int, max_members: int) -> None:
        self._archive = archive
        check = _Check(place, max_unpacked_bytes, max_members)
        infos = archive.infolist()
        check.count(len(infos))
        self._members: dict[str, zipfile.ZipInfo] = {}
        for name, info in zip(_zip_names(infos), infos, strict=True):
            mode = stat.S_IFMT(info.external_attr >> 16)
            check.member(name, info.file_size, mode in (0, stat.S_IFREG, stat.S_IFDIR), bool(info.flag_bits & 0x1))
            if not info.is_dir() and not _is_clutter(name):
                self._members[name] = info
        check.total()

    def paths(self) -> list[str]:
        """Return every file, in a fixed order."""
        return sorted(self._members)

    def ignored(self) -> list[dict[str, str]]:
        """Return nothing: a zip with links is refused."""
        return []

    def read(self, path: str) -> bytes:
        """Return the bytes of one member; zipfile reads no more than its declared size and checks its CRC."""
        _refuse_large(self._members[path].file_size)
        try:
            return self._archive.read(self._members[path])
        except (OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise _unreadable(error) from error


def _zip_names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """Return the names of all members, those of unknown encoding in the first one that fits all of them."""
    unmarked = [info.orig_filename.encode("cp437") for info in infos if not info.flag_bits & 0x800]
    encoding = next((name for name in _NAME_ENCODINGS if _decodes(unmarked, name)), "cp437")
    return [
        info.orig_filename if info.flag_bits & 0x800 else info.orig_filename.encode("cp437").decode(encoding)
        for info in infos
    ]


def _decodes(names: list[bytes], encoding: str) -> bool:
    try:
        for name in names:
            name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


class TarSource:
    """A tar whose every member has been checked before the first is read."""

    def __init__(self, archive: tarfile.TarFile, place: str, max_unpacked_bytes: int, max_members: int) -> None:
        self._archive = archive
        check = _Check(place, max_unpacked_bytes, max_members)
        self._members: dict[str, tarfile.TarInfo] = {}
        for number, info in enumerate(archive, 1):
            check.count(number)
            check.member(info.name, info.size, info.isreg() or info.isdir())
            check.total()
            if info.isreg() and not _is_clutter(info.name):
                self._members[info.name] = info

    def paths(self) -> list[str]:
        """Return every file, in a fixed order."""
        return sorted(self._members)

    def ignored(self) -> list[dict[str, str]]:
        """Return nothing: a tar with links is refused."""
        return []

    def read(self, path: str) -> bytes:
        """Return the bytes of one member."""
        _refuse_large(self._members[path].size)
        try:
            file = self._archive.extractfile(self._members[path])
            data = file.read() if file else b""
        except _TAR_ERRORS as error:
            raise _unreadable(error) from error
        if len(data) != self._members[path].size:
            raise BadFileError(_("it is truncated"))
        return data


class _Check:
    """Refuses an archive whose members are unsafe, too many or too large."""

    def __init__(self, place: str, max_unpacked_bytes: int, max_members: int) -> None:
        self._place = place
        self._max_bytes, self._max_members = max_unpacked_bytes, max_members
        self._bytes = 0
        self._seen: set[str] = set()

    def count(self, members: int) -> None:
        if members > self._max_members:
            raise DatasetError(
                _("{archive} has more than the allowed {limit:,} files.", archive=self._place, limit=self._max_members),
                _("If you trust it, unpack it yourself, or raise max_members where the import has it."),
            )

    def member(self, name: str, size: int, plain: bool, encrypted: bool = False) -> None:
        reason = _("there are two of that name") if name in self._seen else _unsafe(name, plain, encrypted)
        if reason:
            raise DatasetError(
                _("{archive} is refused: in {file!r}, {reason}.", archive=self._place, file=name, reason=reason),
                _("Make the archive without it."),
            )
        self._seen.add(name)
        self._bytes += max(0, size)

    def total(self) -> None:
        if self._bytes > self._max_bytes:
            raise too_large(self._place, self._bytes, self._max_bytes)


def too_large(place: str, size: int, limit: int) -> DatasetError:
    """Return the error of an archive that would unpack to more than is allowed."""
    return DatasetError(
        _("{archive} unpacks to {total:,} bytes; the limit is {limit:,}.", archive=place, total=size, limit=limit),
        _("If you trust it, unpack it yourself, or raise max_unpacked_bytes where the import has it."),
    )


def _unsafe(name: str, plain: bool, encrypted: bool) -> str:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if "\0" in name or name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
        return _("the path is absolute")
    if ".." in parts:
        return _("the path leads out of the archive ('..')")
    if not plain:
        return _("there is a link or special file")
    return _("the file is encrypted") if encrypted else ""


def _is_clutter(path: str) -> bool:
    return any(part in _CLUTTER or part.startswith(".") for part in PurePosixPath(path).parts)


def _refuse_large(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise BadFileError(_("its {n:,} bytes are more than the allowed {limit:,}", n=size, limit=MAX_FILE_BYTES))


def _unreadable(error: Exception) -> BadFileError:
    return BadFileError(_("it cannot be read ({error})", error=error))


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or tar by its name."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


@contextmanager
def open_source(
    path: Path, max_unpacked_bytes: int = MAX_UNPACKED_BYTES, max_members: int = MAX_MEMBERS
) -> Iterator[FileSource]:
    """Open a folder, a zip or a tar (plain, or compressed by gzip, bzip2 or xz).

    Raises
    ------
    DatasetError
        When it is none of these, or the archive is damaged or unsafe.
    """
    if path.is_dir():
        yield FolderSource(path)
        return
    if not path.exists():
        raise DatasetError(_("There is no file or folder {path}.", path=path), _("Check the path."))
    if path.name.lower().endswith(TAR_SUFFIXES):
        with _open_tar(path, max_unpacked_bytes) as archive:
            yield TarSource(archive, path.name, max_unpacked_bytes, max_members)
        return
    try:
        with zipfile.ZipFile(path) as zipped:
            yield ZipSource(zipped, path.name, max_unpacked_bytes, max_members)
    except zipfile.BadZipFile as error:
        raise _not_whole(_("{file} is no whole zip file ({error}).", file=path.name, error=error)) from error


@contextmanager
def _open_tar(path: Path, max_unpacked_bytes: int) -> Iterator[tarfile.TarFile]:
    """Open a tar; a compressed one becomes a plain temporary file, for its members are read in any order."""
    with tempfile.TemporaryFile(prefix="armillary-tar-") as plain:
        try:
            opener = _decompressor(path)
            if opener is None:
                with tarfile.open(path, "r:") as archive:
                    yield archive
                return
            with opener as packed:
                _copy_within(packed, plain, path.name, max_unpacked_bytes + _TAR_OVERHEAD)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                yield archive
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise _not_whole(_("{file} is no whole tar file ({error}).", file=path.name, error=error)) from error


def _decompressor(path: Path) -> IO[bytes] | None:
    """Return the opened file of a compressed tar, by its first bytes; None for a plain one."""
    with path.open("rb") as file:
        start = file.read(6)
    if start[:2] == b"\x1f\x8b":
        return gzip.open(path)  # type: ignore[return-value]
    if start[:3] == b"BZh":
        return bz2.open(path)  # type: ignore[return-value]
    return lzma.open(path) if start == b"\xfd7zXZ\0" else None  # type: ignore[return-value]


def _copy_within(packed: IO[bytes], plain: IO[bytes], place: str, limit: int) -> None:
    while block := _next_block(packed):
        try:
            plain.write(block)
        except OSError as error:
            what = _(
                "{archive} cannot be decompressed into {folder}: {reason}.",
                archive=place,
                folder=tempfile.gettempdir(),
                reason=error.strerror,
            )
            raise DatasetError(what, _("Free space or set TMPDIR to another disk.")) from error
        if plain.tell() > limit:
            raise too_large(place, plain.tell(), limit)


def _next_block(packed: IO[bytes]) -> bytes:
    try:
        return packed.read(2**20)
    except OSError as error:  # bz2's way to say that its data are damaged
        raise EOFError(str(error)) from error


def _not_whole(what: str) -> DatasetError:
    return DatasetError(what, _("Make the archive anew or upload it again."))
