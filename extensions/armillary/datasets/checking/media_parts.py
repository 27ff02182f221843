"""Pictures, sounds and videos as a check sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking import pictures
from armillary.datasets.checking.columns import Leaf, innermost
from armillary.datasets.checking.findings import Finding, removal, title
from armillary.datasets.checking.looks import Fault, Look, broken
from armillary.datasets.checking.near import SIDE, near_by_hash, perceptual_hashes, same_thumbnails
from armillary.datasets.checking.parts import MOST_FINDINGS, NO_PAIRS, Part, Scope, hash_of
from armillary.datasets.checking.sounds import look_at_sound
from armillary.datasets.checking.videos import look_at_video
from armillary.datasets.features import Audio, Feature, Image, Sequence
from armillary.datasets.media import Medium, check_medium
from armillary.errors import ArmillaryError

_ = translator(__file__)

_DECODED = frozenset({"broken", "blank", "near_duplicate"})
_SEEN, _HEARD = frozenset({"dark", "bright", "blurry", "odd_aspect"}), frozenset({"clipped"})
#: Kinds that the stored bytes tell.
_TOLD_BY_BYTES = frozenset({"missing", "duplicate", "imbalance"})
_SMALL = 16 * 1024
#: What more of them have is how the dataset is, not a fault.
_USUAL = 0.2
_FEW = 20


class MediaPart(Part):
    """Images, sounds or videos; of a list in one example, the first is compared and each is decoded."""

    is_content = True

    def __init__(self, leaf: Leaf, scope: Scope) -> None:
        super().__init__(leaf, scope)
        self._kind = innermost(leaf.feature)
        self._decodes = not scope.wanted <= _TOLD_BY_BYTES
        self.kinds = Part.kinds | _DECODED | (_HEARD if isinstance(self._kind, Audio) else _SEEN)
        self._thumbnails = np.zeros((scope.rows, SIDE, SIDE), np.uint8)
        self._usable = np.zeros(scope.rows, bool)
        self._faults: list[tuple[int, Fault]] = []
        self._quality: dict[str, NDArray[np.float32]] = {}
        self._measures: dict[str, NDArray[np.float64]] = {}
        self._features: NDArray[np.float32] | None = None

    def see(self, first: int, values: pa.Array) -> None:
        """Decode the media of a row group, large ones side by side."""
        stored = [list(_flat(self.leaf.feature, value)) for value in values.to_pylist()]
        size = sum(len(each["bytes"] or b"") for media in stored for each in media)
        together = size > _SMALL * len(stored)
        looks = list((self.scope.pool.map if together else map)(self._looks, stored))
        for row, media, found in zip(range(first, first + len(stored)), stored, looks, strict=True):
            if self.missing[row]:
                continue
            self.fingerprints[row] = hash_of(b"".join(each["bytes"] or each["path"].encode() for each in media))
            if found:
                self._keep(row, found)

    def _looks(self, media: list[dict[str, Any]]) -> list[Look]:
        return [self._look(stored) for stored in media] if self._decodes else []

    def _look(self, stored: dict[str, Any]) -> Look:
        dataset = self.scope.dataset
        try:
            medium = Medium.stored(stored, dataset.folder, dataset.manifest.media)
            return _look(self._kind, medium)
        except ArmillaryError:
            raise
        except Exception as error:  # decoders raise many kinds on damaged files
            return broken(error)

    def _keep(self, row: int, looks: list[Look]) -> None:
        self._faults += [(row, fault) for look in looks for fault in look.faults]
        look = looks[0]
        if look.features is None:
            return
        self._usable[row] = True
        self._thumbnails[row] = look.thumbnail
        for name, number in look.quality.items():
            kept = self._quality.setdefault(name, np.full(self.scope.rows, np.nan, np.float32))
            kept[row] = number
        place = self.scope.places(row, 1)
        if place.stop > place.start:
            self._keep_closely(place.start, look)

    def _keep_closely(self, place: int, look: Look) -> None:
        size = len(self.scope.sample)
        if self._features is None and look.features is not None:
            self._features = np.full((size, len(look.features)), np.nan, np.float32)
        if self._features is not None:
            self._features[place] = look.features
        for name, number in look.measures.items():
            self._measures.setdefault(name, np.full(size, np.nan))[place] = number

    def findings(self) -> Iterator[Finding]:
        """Yield what is missing, broken, blank and clipped, and what is dark, bright, blurry or of an odd shape."""
        yield from self.missing_findings()
        kinds = {fault.kind for _row, fault in self._faults}
        for kind in sorted(kinds):
            of_kind = [(row, fault) for row, fault in self._faults if fault.kind == kind]
            if kind != "clipped" or not self._is_usual(len(of_kind)):
                for row, fault in sorted(of_kind, key=lambda each: -each[1].score)[:MOST_FINDINGS]:
                    yield self._finding(row, fault)
        for kind, scores, marked in self._judged():
            if not self._is_usual(int(marked.sum())):
                rows = np.flatnonzero(marked)
                for row in rows[np.argsort(-scores[rows], kind="stable")][:MOST_FINDINGS].tolist():
                    numbers = {name: float(values[row]) for name, values in self._quality.items()}
                    yield self._finding(row, Fault(kind, float(scores[row]), pictures.in_words(kind, numbers)))

    def notes(self) -> Iterator[str]:
        """Yield which faults most of them have, so that they are none."""
        counts = {kind: int(marked.sum()) for kind, _scores, marked in self._judged()}
        counts["clipped"] = sum(fault.kind == "clipped" for _row, fault in self._faults)
        for kind, count in counts.items():
            if self._is_usual(count):
                share = count / self.scope.rows
                text = _("{column}: {share:.0%} are “{kind}”; that is how this dataset is, so they are not listed.")
                yield text.format(column=self.name, share=share, kind=title(kind))

    def _is_usual(self, count: int) -> bool:
        return count > max(_FEW, _USUAL * self.scope.rows) or count > 0.5 * self.scope.rows > 2

    def _judged(self) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
        if self._quality:
            blank = np.zeros(self.scope.rows, bool)
            blank[[row for row, fault in self._faults if fault.kind == "blank"]] = True
            quality = {name: values.astype(np.float64) for name, values in self._quality.items()}
            for kind, scores, marked in pictures.judged(quality):
                yield kind, scores, marked & ~blank & self._usable

    def _finding(self, row: int, fault: Fault) -> Finding:
        remove = fault.kind in ("broken", "blank")
        advice = _("Remove it.") if remove else _("Look at it; remove it if it is of no use.")
        explanation = fault.explanation if self._is_alone else f"{self.name}: {fault.explanation}"
        return Finding(fault.kind, (row,), fault.score, explanation, advice, removal([row]), self.name)

    @property
    def _is_alone(self) -> bool:
        return len(self.scope.dataset.features) <= 1 + (self.scope.dataset.target is not None)

    def near_pairs(self) -> NDArray[np.int64]:
        """Return pairs whose thumbnails have nearly the same perceptual hash."""
        _values, first = np.unique(self.fingerprints, return_index=True)
        rows = np.sort(first[self._usable[first]])
        rows = rows[self._thumbnails[rows].reshape(-1, SIDE * SIDE).std(axis=1) > 2]
        if len(rows) < 2:
            return NO_PAIRS
        pairs = near_by_hash(perceptual_hashes(self._thumbnails[rows]), rows)
        return pairs[self.alike(pairs)]

    def alike(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell of each pair whether the files are the same or show nearly the same."""
        same = super().alike(pairs)
        usable = self._usable[pairs].all(axis=1)
        return same | (usable & same_thumbnails(self._thumbnails[pairs[:, 0]], self._thumbnails[pairs[:, 1]]))

    def block(self) -> Any:
        """Return the features of the sample's media."""
        return super().block() if self._features is None else self._features

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Return the sizes and lengths of the sample's media."""
        return {f"{self.name} ({name})": values for name, values in self._measures.items()}


def _look(kind: Feature, medium: Medium) -> Look:
    if isinstance(kind, Image):
        return pictures.look_at_picture(medium.read())
    if medium.data is not None:  # what lies beside the shards was checked when it was imported, and may be large
        check_medium(kind, medium.data)  # type: ignore[arg-type]
    return look_at_sound(medium) if isinstance(kind, Audio) else look_at_video(medium)


def _flat(feature: Feature, value: Any) -> Iterator[dict[str, Any]]:
    """Yield the stored media of a value, which may be a list of them."""
    if value is None:
        return
    if isinstance(feature, Sequence):
        for part in value:
            yield from _flat(feature.feature, part)
    elif value["bytes"] is not None or value["path"]:
        yield value
