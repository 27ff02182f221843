"""The end of a log, for a message that shows why something failed."""

from __future__ import annotations

from pathlib import Path

from armillary_kernels.plain_files import read_plain_file

#: Bytes at the end of a log that are looked at.
_MOST = 64 * 2**10


def last_lines(path: Path, count: int, *, owner: int | None = None) -> str:
    """Return the last lines of a log; nothing where there is none, or something else in its place.

    Parameters
    ----------
    path
        The log, which may lie where another account writes.
    count
        Lines, at most.
    owner
        The uid of that account.
    """
    try:
        text = read_plain_file(path, _MOST, owner=owner, from_end=True).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
