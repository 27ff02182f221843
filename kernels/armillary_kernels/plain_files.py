"""Reading a file that lies where another account may write.

What should be a plain file may be a link to somebody else's, a pipe that never ends, or larger than the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_plain_file(path: Path, most: int, *, owner: int | None = None, from_end: bool = False) -> bytes:
    """Return a plain file's content, never following a link at its name and never waiting.

    Parameters
    ----------
    path
        The file; the folders on the way to it are trusted.
    most
        Bytes that are read at most.
    owner
        The uid that the file must belong to, or None for anybody's: a hard link may lead to another's file.
    from_end
        Read the last bytes of a longer file, not the first ones.

    Raises
    ------
    OSError
        If it cannot be read, or is not such a file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or owner not in (None, state.st_uid):
            raise OSError(errno.EPERM, "Not a plain file of the right account", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            file.seek(max(0, state.st_size - most) if from_end else 0)
            return file.read(most)
    finally:
        os.close(descriptor)
