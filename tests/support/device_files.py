"""Device files of GPUs that need not be there: whether Linux lets a process open one can be seen all the same."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from armillary_hub.pool.device_program import MAJOR

#: Try the files of GPUs by their minor numbers, and print for each what comes of it: a device that is not there
#: (ENXIO) was let through; EPERM was refused.
LOOK = """
import errno, os
def look():
    for path in {paths!r}:
        try:
            os.close(os.open(path, os.O_RDWR))
            print("open", end=" ")
        except OSError as error:
            print(errno.errorcode[error.errno], end=" ")
    print(flush=True)
"""


def make(folder, minors):
    """Make device files that everybody may open; returns the code that defines ``look()``. Needs root."""
    paths = [str(folder / f"nvidia{minor}") for minor in minors]
    for path, minor in zip(paths, minors, strict=True):
        os.mknod(path, stat.S_IFCHR, os.makedev(MAJOR, minor))
        Path(path).chmod(0o666)
    return LOOK.format(paths=paths)


class Looker(subprocess.Popen):
    """A process that looks whenever it is asked to."""

    def __init__(self, look, uid):
        code = f"{look}\nimport sys\nfor line in sys.stdin:\n    exec(line)\n"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        super().__init__([sys.executable, "-c", code], user=uid, cwd="/", **pipes)

    def say(self, line="look()"):
        """Let it do something that prints a line; returns that as words."""
        self.stdin.write(f"{line}\n")
        self.stdin.flush()
        return self.stdout.readline().split()
