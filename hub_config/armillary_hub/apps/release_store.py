"""Releases on disk: each an immutable folder, written aside, made durable, then renamed into place.

``apps/<name>/releases/<number>/`` holds ``release.json``, ``model.onnx`` and ``app.ipynb``; the link ``current`` names
the one that serves. What is unpublished moves to ``apps/.unpublished``: nothing is lost.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from armillary_kernels.release import MANIFEST, MODEL, NOTEBOOK, Release
from armillary_kernels.texts import translator

from armillary_hub.accounts.names import ROBOT_PREFIX
from armillary_hub.web.errors import WebError

_ = translator(__file__)

_CURRENT = "current"
_ARCHIVE = ".unpublished"


class ReleaseStore:
    """The releases of all apps.

    Parameters
    ----------
    folder
        ``Settings.apps_dir``.
    team
        Whether each app has a Unix account of its own, which alone may read its releases.
    """

    def __init__(self, folder: Path, *, team: bool) -> None:
        self._folder = folder
        self._team = team

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of an app's releases, oldest first."""
        releases = self._releases(name)
        if not releases.is_dir():
            return []
        return sorted(int(entry.name) for entry in releases.iterdir() if entry.name.isdecimal())

    def read(self, name: str, number: int) -> Release:
        """Return what a release says about itself."""
        return Release.read(self._releases(name) / str(number))

    def save(self, release: Release, files: Mapping[str, BinaryIO | bytes]) -> Release:
        """Write the next release of an app; it does not serve yet.

        Parameters
        ----------
        release
            Its description; the number is filled in.
        files
            Contents of ``model.onnx`` and ``app.ipynb``.

        Raises
        ------
        WebError
            507 when the disk is full; nothing is left half-written.
        """
        releases = self._releases(release.name)
        try:
            self._make_folders(release.name)
            numbered = release.model_copy(update={"number": max(self.numbers(release.name), default=0) + 1})
            aside = releases / f".{numbered.number}.part"
            shutil.rmtree(aside, ignore_errors=True)
            try:
                _write(aside, {MANIFEST: numbered.model_dump_json(indent=2).encode(), **files})
                aside.rename(releases / str(numbered.number))
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            _sync_folder(releases)
        except OSError as error:
            raise _not_saved(error, self._folder) from error
        return numbered

    def activate(self, name: str, number: int) -> None:
        """Let a release serve from the app's next start on."""
        folder = self._folder / name
        if self._team:
            _give_to(folder / "releases" / str(number), f"{ROBOT_PREFIX}{name}")
        aside = folder / f".{_CURRENT}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(Path("releases") / str(number))
        aside.rename(folder / _CURRENT)
        _sync_folder(folder)

    def current(self, name: str) -> int:
        """Return the number of the release that the app's next start serves; 0 before the first."""
        try:
            return int((self._folder / name / _CURRENT).readlink().name)
        except (OSError, ValueError):
            return 0

    def archive(self, name: str) -> None:
        """Move an app's releases out of the way, back to the deployment's account."""
        folder = self._folder / name
        if not folder.is_dir():
            return
        if self._team:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 0, 0, follow_symlinks=False)
        archive = self._folder / _ARCHIVE
        archive.mkdir(mode=0o700, exist_ok=True)
        folder.rename(archive / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")

    def _releases(self, name: str) -> Path:
        return self._folder / name / "releases"

    def _make_folders(self, name: str) -> None:
        # Every account may pass through; a release itself only its own may enter.
        for folder in (self._folder / name, self._releases(name)):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711 if self._team else 0o700)


def _write(folder: Path, files: Mapping[str, BinaryIO | bytes]) -> None:
    folder.mkdir(mode=0o700)
    for name in (MANIFEST, MODEL, NOTEBOOK):
        content = files[name]
        with (folder / name).open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                shutil.copyfileobj(content, file, 2**20)
            file.flush()
            os.fsync(file.fileno())
        (folder / name).chmod(0o400)
    _sync_folder(folder)
    folder.chmod(0o500 if os.geteuid() == 0 else 0o700)


def _give_to(folder: Path, account: str) -> None:
    uid = pwd.getpwnam(account).pw_uid
    if folder.stat().st_uid == uid:
        return
    # The folder last: once the account may write in it, any name in it may be a link to a file of somebody else's.
    for path in (*folder.iterdir(), folder):
        os.chown(path, uid, -1, follow_symlinks=False)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _not_saved(error: OSError, folder: Path) -> WebError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = _("The disk that holds {folder} is full; nothing was published.", folder=folder)
        return WebError(507, what, _("Free some space."))
    what = _("The release could not be written: {error}.", error=error)
    return WebError(500, what, _("Ask an admin to look at the disk."))
