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
from typing import IO, Any, Protocol, Self

from armillary_kernels.texts import translator

from armillary.datasets.importing.archive_check import MAX_MEMBERS, MAX_UNPACKED_BYTES, ArchiveCheck, too_large
from armillary.errors import DatasetError

_ = translator(__file__)

MAX_FILE_BYTES = 2**31
_TAR_OVERHEAD = 2**26  # headers and padding
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
#: Tried in this order on names that are not said to be UTF-8; China's archivers write GBK.
_NAME_ENCODINGS = ("utf-8", "gb18030")
#: What a tar says of a member beside its content, such as a long name, is never longer.
_MAX_HEADER = 2**20
_TAR_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
#: Damage in a name is a ValueError (UnicodeDecodeError), in what a member needs a RuntimeError.
_ZIP_ERRORS = (zipfile.BadZipFile, ValueError, RuntimeError)
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
    """A folder; links to folders, and those that lead out of it, are not followed.

    Raises
    ------
    DatasetError
        When a folder in it cannot be read: what lies there would be missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ignored: list[dict[str, str]] = []
        found: list[str] = []
        inside = root.resolve()
        for folder, folders, files in os.walk(root, onerror=_refuse_unreadable):
            links = [Path(folder, name) for name in folders if Path(folder, name).is_symlink()]
            for path in (*links, *(Path(folder, file) for file in files)):
                name = path.relative_to(root).as_posix()
                reason = _why_not(path, inside)
                if reason:
                    self._ignored.append({"file": _readable(name), "reason": reason})
                elif path.is_file() and not _is_clutter(name):
                    found.append(name)
        odd = [os.fsencode(name) for name in found if _is_odd(name)]
        encoding = _encoding_of(odd, "latin-1")
        self._paths = {os.fsencode(name).decode(encoding) if _is_odd(name) else name: name for name in found}

    def paths(self) -> list[str]:
        """Return every file, in a fixed order."""
        return sorted(self._paths)

    def ignored(self) -> list[dict[str, str]]:
        """Return the links that were not followed."""
        return sorted(self._ignored, key=lambda entry: entry["file"])

    def read(self, path: str) -> bytes:
        """Return the bytes of one file."""
        place = self._root / self._paths.get(path, path)
        try:
            _refuse_large(place.stat().st_size)
            return place.read_bytes()
        except OSError as error:
            raise _unreadable(error) from error


def _refuse_unreadable(error: OSError) -> None:
    what = _("{path} cannot be read: {reason}.", path=error.filename, reason=error.strerror)
    raise DatasetError(what, _("Check the path.")) from error


def _why_not(path: Path, inside: Path) -> str:
    """Return why a link is not followed; empty for what is none, or leads to a file of the folder."""
    if not path.is_symlink():
        return ""
    try:
        if not path.resolve(strict=True).is_relative_to(inside):
            return _("a link that leads out of the folder")
    except (OSError, RuntimeError):  # RuntimeError: a link to itself
        return _("a link that leads nowhere")
    return _("a link to a folder") if path.is_dir() else ""


def _is_odd(name: str) -> bool:
    """Tell whether a file's name is not encoded as the system's names are."""
    return any("\udc80" <= letter <= "\udcff" for letter in name)


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


class ZipSource:
    """A zip whose every member has been checked before the first is read."""

    def __init__(self, archive: zipfile.ZipFile, place: str, max_unpacked_bytes: int, max_members: int) -> None:
        self._archive = archive
        check = ArchiveCheck(place, max_unpacked_bytes, max_members)
        infos = archive.infolist()
        check.count(len(infos))
        self._members: dict[str, zipfile.ZipInfo] = {}
        for name, info in zip(_zip_names(infos), infos, strict=True):
            mode = stat.S_IFMT(info.external_attr >> 16)
            check.size(info.file_size)
            check.member(name, mode in (0, stat.S_IFREG, stat.S_IFDIR), bool(info.flag_bits & 0x1))
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
        except (*_ZIP_ERRORS, OSError, zlib.error, lzma.LZMAError, EOFError) as error:
            raise _unreadable(error) from error


def _zip_names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """Return the names of all members, those of unknown encoding in the first one that fits all of them."""
    unmarked = [info.orig_filename.encode("cp437") for info in infos if not info.flag_bits & 0x800]
    encoding = _encoding_of(unmarked, "cp437")
    return [
        info.orig_filename if info.flag_bits & 0x800 else info.orig_filename.encode("cp437").decode(encoding)
        for info in infos
    ]


def _encoding_of(names: list[bytes], otherwise: str) -> str:
    return next((encoding for encoding in _NAME_ENCODINGS if _decodes(names, encoding)), otherwise)


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
        check = ArchiveCheck(place, max_unpacked_bytes, max_members)
        infos: list[tarfile.TarInfo] = []
        for number, info in enumerate(archive, 1):
            check.count(number)
            check.size(info.size)
            check.total()
            infos.append(info)
        _refuse_cut(archive, place)
        self._members: dict[str, tarfile.TarInfo] = {}
        encoding = _encoding_of([_raw_name(info) for info in infos], "latin-1")
        for info in infos:
            name = _raw_name(info).decode(encoding)
            check.member(name, info.isreg() or info.isdir())
            if info.isreg() and not _is_clutter(name):
                self._members[name] = info

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


class _TarMember(tarfile.TarInfo):
    """A member of a tar; what is said of it beside its content is not read when it is far too long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the member that a header describes."""
        found = super().frombuf(buf, encoding, errors)
        if found.type in _TAR_HEADERS and found.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        return found


def _raw_name(info: tarfile.TarInfo) -> bytes:
    return info.name.encode("utf-8", "surrogateescape")


def _refuse_cut(archive: tarfile.TarFile, place: str) -> None:
    """Refuse a tar without the empty block that ends it: tarfile takes a damaged header, or none, for the end."""
    file: Any = archive.fileobj
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        error = _("it is cut or damaged at byte {n:,}", n=archive.offset)
        raise _not_whole(_("{file} is no whole tar file ({error}).", file=place, error=error))


def _is_clutter(path: str) -> bool:
    return any(part in _CLUTTER or part.startswith(".") for part in PurePosixPath(path).parts)


def _refuse_large(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise BadFileError(_("its {n:,} bytes are more than the allowed {limit:,}", n=size, limit=MAX_FILE_BYTES))


def _unreadable(error: Exception) -> BadFileError:
    return BadFileError(_("it cannot be read ({error})", error=error))


def copy_out(source: FileSource, member: str, to: Path) -> None:
    """Write one of the files of a source to a file of this machine.

    Raises
    ------
    DatasetError
        When it cannot be read.
    """
    try:
        to.write_bytes(source.read(member))
    except BadFileError as error:
        what = _("{file} cannot be read: {reason}.", file=member, reason=error)
        raise DatasetError(what, _("Repair or remove it.")) from error


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
    try:
        path.open("rb").close()
    except OSError as error:
        _refuse_unreadable(error)
    if path.name.lower().endswith(TAR_SUFFIXES):
        with _open_tar(path, max_unpacked_bytes) as archive:
            yield TarSource(archive, path.name, max_unpacked_bytes, max_members)
        return
    try:
        zipped = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        raise _not_whole(_("{file} is no whole zip file ({error}).", file=path.name, error=error)) from error
    with zipped:
        yield ZipSource(zipped, path.name, max_unpacked_bytes, max_members)


@contextmanager
def _open_tar(path: Path, max_unpacked_bytes: int) -> Iterator[tarfile.TarFile]:
    """Open a tar; a compressed one becomes a plain temporary file, for its members are read in any order."""
    with tempfile.TemporaryFile(prefix="armillary-tar-") as plain:
        try:
            opener = _decompressor(path)
            if opener is None:
                with tarfile.open(path, "r:", tarinfo=_TarMember, encoding="utf-8") as archive:
                    yield archive
                return
            with opener as packed:
                _copy_within(packed, plain, path.name, max_unpacked_bytes + _TAR_OVERHEAD)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:", tarinfo=_TarMember, encoding="utf-8") as archive:
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
