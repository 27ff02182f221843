"""One look at a picture: its shapes and colours in a few numbers, and how dark, bright and blurry it is.

Brightness, blur and aspect ratio are cleanvision's measures and thresholds, taken of a picture of at most 256 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.looks import Fault, Look
from armillary.datasets.checking.near import SIDE
from armillary.errors import DatasetError
from armillary.inputs.pictures import as_array, channels_of, decode_stored, fitted, upright

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_ = translator(__file__)

_MEASURED_SIDE, _BLUR_SIDE = 256, 64
_FEATURE_SIDE = 32
_CELLS, _BINS, _COLOURS = 4, 8, 4
#: Our kind of finding, by cleanvision's.
_ISSUES = {"dark": "dark", "light": "bright", "odd_aspect_ratio": "odd_aspect", "blurry": "blurry"}
_FLAT = 3


def look_at_picture(data: bytes) -> Look:
    """Return what is kept of an encoded picture.

    Raises
    ------
    BadPictureError
        When it cannot be decoded.
    """
    picture = upright(decode_stored(data))
    measures = {"width": float(picture.width), "height": float(picture.height), "bytes": float(len(data))}
    return look_at(picture, measures, {"aspect_ratio": _aspect(picture)})


def look_at(picture: Picture, measures: Mapping[str, float], quality: Mapping[str, float]) -> Look:
    """Return what is kept of a decoded picture."""
    channels = channels_of(picture)
    reduced = fitted(picture, _reduced(picture.size), channels)
    small = (as_array(fitted(reduced, (_FEATURE_SIDE, _FEATURE_SIDE), 3)) / 255).astype(np.float32)
    grey = as_array(fitted(reduced, (SIDE, SIDE), 1))[..., 0]
    darkest, brightest = (int(value) for value in np.percentile(as_array(reduced), (0, 100)))
    faults: tuple[Fault, ...] = ()
    if brightest - darkest <= _FLAT:
        faults = (Fault("blank", 1.0, _("It has one colour only.")),)
    return Look(
        thumbnail=grey,
        features=np.concatenate([shapes(small.mean(axis=2, dtype=np.float32)), _colours(small)]),
        measures={**measures, "channels": float(channels)},
        quality={**quality, **_quality(reduced)},
        faults=faults,
    )


def _aspect(picture: Picture) -> float:
    return min(picture.width / picture.height, picture.height / picture.width)


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, _MEASURED_SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def shapes(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how often each direction occurs among the edges of each cell, ``(128,)``.

    Histograms of oriented gradients (Dalal and Triggs, 2005), of one picture ``(32, 32)``.
    """
    down, across = np.gradient(np.sqrt(grey))
    strength = np.hypot(down, across)
    turned = np.arctan2(down, across) / (2 * np.pi) % 1 * _BINS
    lower = np.floor(turned).astype(int)
    share = turned - lower
    cell = np.arange(len(grey)) * _CELLS // len(grey)
    place = (cell[:, None] * _CELLS + cell[None, :]) * _BINS
    counts = np.zeros(_CELLS * _CELLS * _BINS)
    for direction, weight in ((lower, 1 - share), (lower + 1, share)):
        counts += np.bincount((place + direction % _BINS).ravel(), (strength * weight).ravel(), len(counts))
    return np.sqrt(counts / max(float(np.linalg.norm(counts)), 1e-6)).astype(np.float32)


def _colours(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean colours of 4 × 4 cells, and of a grey picture the mean brightness."""
    cell = _FEATURE_SIDE // _COLOURS
    return small.reshape(_COLOURS, cell, _COLOURS, cell, 3).mean(axis=(1, 3)).ravel()


@cache
def _cleanvision() -> Any:
    try:
        from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager
    except ImportError as error:
        what = _("Pictures cannot be checked: {error}.", error=error)
        raise DatasetError(what, _("Install armillary[data].")) from error
    return ImagePropertyIssueManager()


def _quality(picture: Picture) -> dict[str, float]:
    properties = _cleanvision().image_properties
    found = {**properties["dark"].calculate(picture), **properties["blurry"].calculate(picture)}
    found["blurriness"] = _edges(picture)
    return {name: float(value) for name, value in found.items()}


def _edges(picture: Picture) -> float:
    """Return cleanvision's strength of edges without the border, where Pillow's filter leaves the picture as it is."""
    from PIL import ImageFilter

    factor = min(1.0, _BLUR_SIDE / max(picture.size))
    size = max(3, int(picture.width * factor)), max(3, int(picture.height * factor))
    edges = picture.resize(size).convert("L").filter(ImageFilter.FIND_EDGES)
    return float(np.asarray(edges)[1:-1, 1:-1].std())


def judged(quality: Mapping[str, NDArray[np.float64]]) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield, for each kind of finding, how serious it is for each picture, and whether it is one."""
    import pandas as pd

    manager, frame = _cleanvision(), pd.DataFrame(dict(quality))
    for issue, kind in _ISSUES.items():
        settings = {**manager.params[issue]}
        threshold = settings.pop("threshold")
        scores = manager.image_properties[issue].get_scores(raw_scores=frame, issue_type=issue, **settings)
        marked = manager.image_properties[issue].mark_issue(scores, issue, threshold)
        yield kind, 1 - scores.iloc[:, 0].to_numpy(float), marked.iloc[:, 0].to_numpy(bool)


def in_words(kind: str, quality: Mapping[str, float]) -> str:
    """Return what is wrong with a picture."""
    if kind == "dark":
        return _("99 % of it is darker than {level:.0%} of white.", level=quality["brightness_perc_99"])
    if kind == "bright":
        return _("95 % of it is brighter than {level:.0%} of white.", level=quality["brightness_perc_5"])
    if kind == "odd_aspect":
        return _("Its long side is {times:.1f} times the short one.", times=1 / quality["aspect_ratio"])
    return _("Its edges are weak (strength {strength:.1f}).", strength=quality["blurriness"])
