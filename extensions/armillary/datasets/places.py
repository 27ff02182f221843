"""Where datasets lie: a folder of this machine, or any place that fsspec knows, such as ``s3://bucket/datasets``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from armillary_kernels.texts import translator

from armillary.errors import DatasetError

_ = translator(__file__)

#: A `pathlib.Path`, or for another place a ``upath.UPath``, which has the same methods.
Place = Path


def place_of(address: str | Path) -> Place:
    """Return the place that a path or URL names; ``file://`` URLs are paths.

    Raises
    ------
    DatasetError
        When no installed library knows such URLs.
    """
    text = str(address)
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    if "://" not in text:
        return Path(text).expanduser().absolute()
    from upath import UPath

    try:
        remote: Any = UPath(text)
        _filesystem = remote.fs  # fails when its library is missing
    except (ImportError, ValueError) as error:
        raise DatasetError(
            _("{place} cannot be reached: {error}.", place=text, error=error),
            _("Install the fsspec library for it, such as s3fs, or choose another place."),
        ) from error
    return remote


def is_local(place: Place) -> bool:
    """Return whether a place is on this machine's own file systems."""
    return isinstance(place, Path)


def fresh(place: Place) -> Place:
    """Return a place, to be listed as it is now: what fsspec remembers of it may be older than what others did."""
    if not is_local(place):
        place.fs.invalidate_cache()  # type: ignore[attr-defined] # a UPath
    return place


def is_folder(place: Place) -> bool:
    """Return whether a place is a folder now.

    Raises
    ------
    DatasetError
        When it is none of this machine's and cannot be reached.
    """
    if is_local(place):
        return place.is_dir()
    try:
        return fresh(place).is_dir()
    except Exception as error:  # the libraries and their HTTP clients raise many kinds
        what = _("{place} cannot be reached: {error}.", place=place, error=error)
        remedy = _("Check its address, the connection and the credentials, and try again.")
        raise DatasetError(what, remedy) from error


def cache_folder() -> Path:
    """Return where files of other places are kept: ``ARMILLARY_CACHE``, else ``~/.cache/armillary``."""
    return _cache() / "datasets"


def uploads_folder() -> Path:
    """Return where uploaded files lie until they are imported."""
    return _cache() / "uploads"


def _cache() -> Path:
    return Path(os.environ.get("ARMILLARY_CACHE") or "~/.cache/armillary").expanduser()
