"""Files of an archive as files of this machine, for the imports that cannot read them where they are."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from armillary_kernels.texts import translator

from armillary.datasets.importing.sources import copy_out, open_source
from armillary.datasets.recognising.recognise import images_and_labels
from armillary.errors import DatasetError

_ = translator(__file__)


@contextmanager
def unpacked(path: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Give a folder with an archive's files of these endings; a file or folder is given as it is."""
    if path.is_dir() or path.suffix.lower() in suffixes:
        yield path
        return
    with open_source(path) as source, tempfile.TemporaryDirectory(prefix="armillary-unpacked-") as folder:
        for number, member in enumerate(source.paths()):
            if PurePosixPath(member).suffix.lower() in suffixes:  # the number keeps equal names apart, and the order
                copy_out(source, member, Path(folder, f"{number:06}-{PurePosixPath(member).name}"))
        yield Path(folder)


@contextmanager
def idx_pair(path: Path) -> Iterator[tuple[Path, Path]]:
    """Give the first pair of IDX files of a folder or archive: images and labels."""
    with open_source(path) as source, tempfile.TemporaryDirectory(prefix="armillary-unpacked-") as folder:
        found = images_and_labels(source.paths())
        if found is None:
            what = _("{place} has no pair of IDX files.", place=path.name)
            raise DatasetError(what, _("Give both, such as {example}.", example="train-images-idx3-ubyte, …labels…"))
        places = (Path(folder, "images"), Path(folder, "labels"))
        for place, member in zip(places, found, strict=True):
            copy_out(source, member, place)
        yield places
