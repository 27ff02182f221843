"""One person's answers: lines added to a file of their own, each whole on the disk before it counts.

Several accounts write into one folder of a shared store, so nothing in it is taken on trust: a file is opened without
following links, counts only if it is a plain file of the person's own account (or of the account that the project
belongs to), and a line that is none, or was cut off, is passed over.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from armillary_kernels.texts import translator

from armillary.datasets.places import Place, is_local
from armillary.errors import DatasetError

_ = translator(__file__)

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Answers:
    """What one person has said so far.

    Attributes
    ----------
    given
        By row, the answer.
    skipped
        Rows that the person could not or would not answer.
    seconds
        By row, how long it took.
    final
        By row, the answer that ends a tie.
    """

    given: dict[int, Any] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    seconds: dict[int, float] = field(default_factory=dict)
    final: dict[int, Any] = field(default_factory=dict)

    @property
    def done(self) -> set[int]:
        """The rows that are answered or skipped."""
        return self.given.keys() | self.skipped

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line in; a later one of the same row stands for the earlier."""
        row = int(line["row"])
        kept = self.final if line.get("final") else self.given
        kept.pop(row, None)
        if not line.get("final"):
            self.skipped.discard(row)
            self.seconds.pop(row, None)
        if line.get("skipped"):
            self.skipped.add(row)
        elif line["answer"] is not None:
            kept[row] = line["answer"]
            if "seconds" in line and not line.get("final"):
                self.seconds[row] = float(line["seconds"])


class AnswerFile:
    """The file to which this person's answers are added.

    Parameters
    ----------
    folder
        Of all answers of a project.
    person
        Whose.
    mode
        Of a new file.
    """

    def __init__(self, folder: Place, person: str, mode: int = 0o600) -> None:
        self._folder = folder
        self._person = person
        self._mode = mode
        self._sent = b""
        self._session = f"{_quoted(person)}--{secrets.token_hex(4)}{SUFFIX}"

    def add(self, row: int, answer: Any, **more: Any) -> dict[str, Any]:
        """Add an answer (None takes it back) and return its line.

        Raises
        ------
        DatasetError
            When it cannot be written.
        """
        line = {"row": row, "answer": answer, **more, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        try:
            if is_local(self._folder):
                self._append(self._folder / file_name(self._person), data)
            else:
                self._send(data)
        except OSError as error:
            raise self._explained(error) from error
        return line

    def _append(self, path: Path, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(path, flags, self._mode)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            if not status.st_size:
                os.fchmod(file, self._mode)  # whatever the umask
            # A line that was cut off before is ended, so that this one is whole.
            if os.write(file, b"\n" + data) != len(data) + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)

    def _send(self, data: bytes) -> None:
        """Object stores cannot append: each session has an object of its own, sent whole each time."""
        place: Any = self._folder / self._session
        place.fs.pipe_file(place.path, self._sent + data)
        self._sent += data

    def _explained(self, error: OSError) -> DatasetError:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EROFS):
            return DatasetError(
                _("{person} may not add answers to {folder}.", person=self._person, folder=self._folder),
                _("Ask the project's owner to let you read the dataset, and to remove a file there that is not yours."),
            )
        return DatasetError(
            _("The answer cannot be written to {folder}: {error}.", folder=self._folder, error=error.strerror or error),
            _("Free space and answer again."),
        )


def file_name(person: str) -> str:
    """Return the name of a person's file."""
    return _quoted(person) + SUFFIX


def _quoted(person: str) -> str:
    """Return a person's name as the name of a file has it: two dashes stand before what tells sessions apart."""
    return quote(person, safe="@").replace("--", "-%2D")


def read_answers(
    folder: Place, owner_uid: int | None, accept: Callable[[int, Any], Any]
) -> Iterator[tuple[str, Answers, bool]]:
    """Yield each person's answers, and whether their file belongs to the account that the project belongs to.

    Parameters
    ----------
    owner_uid
        The project's account; None for an object store, which has its own rules of who may write.
    accept
        Returns the answer to a row in its one form, or raises DatasetError where it is none.
    """
    kept: dict[str, Answers] = {}
    owned: dict[str, bool] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if not path.name.endswith(SUFFIX):
            continue
        person = unquote(path.name.removesuffix(SUFFIX).partition("--")[0])
        found = _read_local(path, person, owner_uid) if is_local(folder) else (path.read_bytes(), True)
        if found is None:
            continue
        answers = kept.setdefault(person, Answers())
        owned[person] = found[1]
        for line in found[0].splitlines():
            _take(answers, line, accept)
    for person, answers in kept.items():
        yield person, answers, owned[person]


def _take(answers: Answers, line: bytes, accept: Callable[[int, Any], Any]) -> None:
    try:
        entry = json.loads(line)
        answers.take({**entry, "answer": accept(entry["row"], entry["answer"])})
    except (DatasetError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # cut off, or not written by us


def _read_local(path: Path, person: str, owner_uid: int | None) -> tuple[bytes, bool] | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(opened.fileno())
        owned = status.st_uid == owner_uid
        if not stat.S_ISREG(status.st_mode) or not (owned or _account(status.st_uid) == person):
            return None
        return opened.read(), owned


def _account(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
