"""The folder of one cluster on this machine.

Root makes it for another account in team mode, so nothing root ever opens lies in a folder that this account may
write: it could put a link there. ::

    <clusters>/<12 digits>/      the deployment's account's, entered by all in team mode
        dashboard.sock           the scheduler's dashboard; only the deployment's account may connect
        dask.crt dask.pem        read by the person's account only
        logs/                    written through open files only
        work/                    the person's account's: working directory of scheduler and workers
"""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from armillary_hub.log_files import last_lines


@dataclass(frozen=True)
class Account:
    """A Unix account: its name, uid, gid, further groups and home."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: Path


@dataclass(frozen=True)
class ClusterFolder:
    """Paths of one cluster.

    Attributes
    ----------
    path
        The folder.
    account
        The account that the cluster runs as, or None for the deployment's own.
    """

    path: Path
    account: Account | None

    @property
    def certificate(self) -> Path:
        """The cluster's TLS certificate."""
        return self.path / "dask.crt"

    @property
    def key(self) -> Path:
        """The key of that certificate."""
        return self.path / "dask.pem"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.path / "logs"

    @property
    def work(self) -> Path:
        """Where the processes run and spill."""
        return self.path / "work"

    @property
    def dashboard_socket(self) -> Path:
        """The Unix socket of the scheduler's dashboard."""
        return self.path / "dashboard.sock"

    def make(self, certificate: bytes, key: bytes) -> None:
        """Create the folder, its folders and the certificate files; it must not exist yet."""
        entered_by = 0o711 if self.account else 0o700
        for folder in (self.path.parent, self.path, self.logs, self.work):
            folder.mkdir(exist_ok=folder == self.path.parent)
            folder.chmod(entered_by)
        self.work.chmod(0o700)
        _write_new(self.certificate, certificate)
        _write_new(self.key, key)
        for path in (self.certificate, self.key, self.work):
            self._give(path)

    def open_log(self, name: str) -> BinaryIO:
        """Create the log file of a process, which its account may read."""
        path = self.logs / f"{name}.log"
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._give(path)
        return file

    def last_lines(self, name: str, count: int = 15) -> str:
        """Return the end of a process's log, or nothing where there is none."""
        return last_lines(self.logs / f"{name}.log", count)

    def bind_dashboard(self) -> socket.socket:
        """Return the listening socket of the dashboard, for the scheduler to inherit."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.dashboard_socket))
        self.dashboard_socket.chmod(0o600)
        listener.listen(128)
        return listener

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)


def _write_new(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        file.write(content)
