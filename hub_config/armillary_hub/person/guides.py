"""The guides in a person's home folder: brought up to date at each start, never over the person's own changes."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from pathlib import Path

from armillary_hub.settings import write_atomically

_LOG = logging.getLogger(__name__)

#: Remembers the SHA-256 of each guide as it was put there.
_MANIFEST = ".armillary-guides.json"


def installed_guides() -> Path:
    """Return the folder of the guides that this environment brings."""
    return Path(sys.prefix) / "share" / "armillary" / "notebooks" / "guides"


def refresh_guides(folder: Path, source: Path | None = None) -> None:
    """Copy new and changed guides to ``folder``; failing to must not keep the person's server from starting.

    A guide that the person changed stays as it is, and the newer one is put beside it as ``NAME (new).ipynb``.
    One that the person deleted comes back only when there is a newer one.
    """
    try:
        _refresh(folder, source or installed_guides())
    except OSError:
        _LOG.warning("The guides in %s could not be brought up to date", folder, exc_info=True)


def _refresh(folder: Path, source: Path) -> None:
    if not source.is_dir():
        return
    folder.mkdir(exist_ok=True)
    before = _read_manifest(folder)
    now = {}
    for guide in sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith(".")):
        name = guide.relative_to(source).as_posix()
        now[name] = _digest(guide)
        if before.get(name) != now[name]:
            _put(guide, folder / name, before.get(name))
    if now != before:
        write_atomically(folder / _MANIFEST, json.dumps(now, indent=2))


def _put(guide: Path, target: Path, known: str | None) -> None:
    """Copy one guide; beside the person's file where that is not what was put there before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and _digest(target) not in (known, _digest(guide)):
        target = target.with_name(f"{target.stem} (new){target.suffix}")
    aside = target.with_name(f".{target.name}.new")
    shutil.copyfile(guide, aside)
    aside.chmod(0o600)
    aside.replace(target)


def _read_manifest(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / _MANIFEST).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
