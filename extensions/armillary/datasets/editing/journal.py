"""The journal: changes that are not saved yet, on disk as soon as they are made.

It lies in the person's home, ``~/.armillary-edits`` (or ``ARMILLARY_EDITS``), not in the store: unsaved changes are
nobody else's business, a store may be one that this person may only read, and an object store cannot append. One file
per version of a store; each line is one step and on the disk before the step counts as done, so a killed kernel loses
nothing. A line that was cut off is no step. The file is locked as long as it is open, for two kernels that edit the
same version would undo each other's changes; the lock goes with the process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.manifest import Manifest
from armillary.datasets.places import Place
from armillary.errors import DatasetError

_ = translator(__file__)

_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Unsaved:
    """Changes that were made and not saved: of which version, in which store, how many steps, since when, and where."""

    reference: str
    store: str
    steps: int
    begun: str
    file: Path


def edits_folder() -> Path:
    """Return where this person's unsaved changes lie: ``ARMILLARY_EDITS``, else ``~/.armillary-edits``."""
    return Path(os.environ.get("ARMILLARY_EDITS") or Path.home() / ".armillary-edits").absolute()


def journal_file(store: Place, reference: str) -> Path:
    """Return the journal of a version; stores may use the same names."""
    return (
        edits_folder()
        / f"{reference.replace('/', '~')}-{hashlib.sha256(str(store).encode()).hexdigest()[:12]}{_SUFFIX}"
    )


class Journal:
    """The journal of one version.

    Parameters
    ----------
    file
        Its path.
    header
        What it belongs to; a journal with another ``content`` is of another version that had the same name.
    """

    def __init__(self, file: Path, header: dict[str, Any]) -> None:
        self.file = file
        self._header = header
        self._open: io.FileIO | None = None

    @classmethod
    def of(cls, store: Place, reference: str, manifest: Manifest) -> Journal:
        """Return the journal of a version."""
        content = hashlib.sha256(repr(manifest.content[0]).encode()).hexdigest()
        header = {"dataset": reference, "store": str(store), "content": content}
        return cls(journal_file(store, reference), header)

    @property
    def is_begun(self) -> bool:
        """Whether this kernel has it open, with changes of its own."""
        return self._open is not None

    @property
    def is_anothers(self) -> bool:
        """Whether another kernel has begun it since this one looked."""
        return self._open is None and self.file.exists()

    def read(self) -> list[dict[str, Any]]:
        """Return its entries, oldest first; none where there is no journal.

        Raises
        ------
        DatasetError
            When another kernel has it open, or it belongs to another version of the same name.
        """
        if not self.file.exists():
            return []
        with self._explained():
            file = self._locked(create=False)
            lines, whole = _whole_lines(file)
            file.truncate(whole)
        if not lines:
            return []
        if lines[0].get("content") != self._header["content"]:
            self.close()
            raise DatasetError(
                _(
                    "The unsaved changes in {file} are of another {reference}, which is gone.",
                    file=self.file,
                    reference=self._header["dataset"],
                ),
                _("Remove that file to begin anew."),
            )
        return lines[1:]

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry and bring it to the disk.

        Raises
        ------
        DatasetError
            When it cannot be written, or another kernel edits the same version.
        """
        with self._explained():
            file = self._open or self._locked(create=True)
            end = file.seek(0, io.SEEK_END)
            begun = {**self._header, "begun": datetime.now(UTC).isoformat(timespec="seconds")}
            entries = [entry] if end else [begun, entry]
            data = b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in entries)
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def discard(self) -> None:
        """Remove it."""
        self.file.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let others have it."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _locked(self, create: bool) -> io.FileIO:
        if create:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
            file = io.FileIO(os.open(self.file, flags, 0o600), "r+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno != errno.ENOLCK:  # some network file systems know no locks
                    file.close()
                    raise
            if os.fstat(file.fileno()).st_nlink:
                break
            file.close()  # it was removed in between: by a kernel that saved or discarded its changes
        if create and file.seek(0, io.SEEK_END):
            file.close()
            raise BlockingIOError(errno.EWOULDBLOCK, "another kernel has begun to edit")
        self._open = file
        return file

    def _explained(self) -> _Explained:
        return _Explained(self.file, self._header["dataset"])

    def __del__(self) -> None:
        self.close()


class _Explained:
    """Turns the operating system's refusals into words."""

    def __init__(self, file: Path, reference: str) -> None:
        self._file = file
        self._reference = reference

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BlockingIOError):
            raise DatasetError(
                _("{reference} is being edited in another notebook of yours.", reference=self._reference),
                _("Save or discard the changes there, or shut that notebook down; then open them here again."),
            ) from error
        if isinstance(error, OSError):
            raise DatasetError(
                _(
                    "{file} cannot be written ({error}): the change is not made.",
                    file=self._file,
                    error=error.strerror,
                ),
                _("Free space, or set ARMILLARY_EDITS to a folder that can be written."),
            ) from error


def _whole_lines(file: io.FileIO) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a journal up to the first that is not whole, and where they end."""
    file.seek(0)
    entries: list[dict[str, Any]] = []
    end = 0
    for line in file.readall().splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            break
        entries.append(entry)
        end += len(line)
    return entries, end


def unsaved() -> Iterator[Unsaved]:
    """Yield this person's unsaved changes, by name."""
    for path in sorted(edits_folder().glob(f"*{_SUFFIX}")):
        try:
            lines = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
            steps = sum(-1 if "undo" in line else 1 for line in lines[1:])
            yield Unsaved(lines[0]["dataset"], lines[0]["store"], steps, lines[0]["begun"], path)
        except (OSError, ValueError, LookupError, TypeError):
            continue  # no journal, or one of another time
