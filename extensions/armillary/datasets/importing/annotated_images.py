"""Which picture an annotation is about: found by what the annotation calls it, near to where the annotation lies."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import PurePosixPath

from armillary_kernels.texts import translator

from armillary.datasets.importing.rejects import BadExampleError
from armillary.datasets.importing.sources import FileSource
from armillary.inputs import pictures

_ = translator(__file__)


class AnnotatedImages:
    """The pictures of a source.

    Names like ``0001.jpg`` come again in the folders of train, validation and test: of several pictures of one name it
    is the one nearest to the annotation, and none where that does not decide.
    """

    def __init__(self, source: FileSource) -> None:
        suffixes = pictures.SUFFIXES
        self.paths = [path for path in source.paths() if PurePosixPath(path).suffix.lower() in suffixes]
        self._known = frozenset(self.paths)
        self._by_name: dict[str, list[str]] = {}
        for path in map(PurePosixPath, self.paths):
            for name in {path.name, path.stem}:
                self._by_name.setdefault(name, []).append(str(path))

    def find(self, called: str, annotation: str) -> str | None:
        """Return the path of the picture of a name, with or without its ending or folders; None when there is none.

        Raises
        ------
        BadExampleError
            When several are as near to the annotation.
        """
        called = called.replace("\\", "/")
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(annotation), called))
        whole = next((path for path in (beside, called) if path in self._known), None)
        if whole is not None:
            return whole
        found = self._by_name.get(PurePosixPath(called).name, [])
        near = _nearest([path for path in found if path.endswith(f"/{called}")] or found, annotation)
        if len(near) > 1:
            listed = ", ".join(near[:5])
            raise BadExampleError(_("there are several images called {name!r}: {listed}", name=called, listed=listed))
        return near[0] if near else None


def _nearest(paths: Sequence[str], annotation: str) -> list[str]:
    """Return those that have the most folders in common with an annotation."""
    shared = [_shared_folders(path, annotation) for path in paths]
    return [path for path, count in zip(paths, shared, strict=True) if count == max(shared)]


def _shared_folders(one: str, other: str) -> int:
    folders = zip(PurePosixPath(one).parts[:-1], PurePosixPath(other).parts[:-1], strict=False)
    return next((count for count, (a, b) in enumerate(folders) if a != b), min(one.count("/"), other.count("/")))
