"""What is refused of an archive before anything of it is read: unsafe members, too many, too large altogether."""

from __future__ import annotations

from pathlib import PurePosixPath

from armillary_kernels.texts import translator

from armillary.errors import DatasetError

_ = translator(__file__)

MAX_UNPACKED_BYTES = 16 * 2**30
MAX_MEMBERS = 2_000_000


class ArchiveCheck:
    """Refuses an archive whose members are unsafe, too many or too large."""

    def __init__(self, place: str, max_unpacked_bytes: int, max_members: int) -> None:
        self._place = place
        self._max_bytes, self._max_members = max_unpacked_bytes, max_members
        self._bytes = 0
        self._seen: set[str] = set()

    def count(self, members: int) -> None:
        """Refuse more members than are allowed."""
        if members > self._max_members:
            raise DatasetError(
                _("{archive} has more than the allowed {limit:,} files.", archive=self._place, limit=self._max_members),
                _("If you trust it, unpack it yourself, or raise max_members where the import has it."),
            )

    def size(self, size: int) -> None:
        """Add the size of a member, in bytes, as the archive says it."""
        self._bytes += max(0, size)

    def member(self, name: str, plain: bool, encrypted: bool = False) -> None:
        """Refuse a member that is unsafe, or whose name is taken."""
        reason = _("there are two of that name") if name in self._seen else _unsafe(name, plain, encrypted)
        if reason:
            raise DatasetError(
                _("{archive} is refused: in {file!r}, {reason}.", archive=self._place, file=name, reason=reason),
                _("Make the archive without it."),
            )
        self._seen.add(name)

    def total(self) -> None:
        """Refuse more bytes than are allowed."""
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
    if "\0" in name:
        return _("there is a NUL byte in it")
    if name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
        return _("the path is absolute")
    if ".." in parts:
        return _("the path leads out of the archive ('..')")
    if not plain:
        return _("there is a link or special file")
    return _("the file is encrypted") if encrypted else ""
