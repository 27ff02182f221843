"""What one look at a picture, sound or video keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.near import SIDE

_ = translator(__file__)


@dataclass(frozen=True)
class Fault:
    """Something wrong with one medium: the kind of finding, how serious, and in words."""

    kind: str
    score: float
    explanation: str


@dataclass(frozen=True)
class Look:
    """What is kept of one medium.

    Attributes
    ----------
    thumbnail
        ``(16, 16)``, by which near-duplicates are found.
    features
        ``(d,)``, by which classes are told and outliers found; None of what cannot be decoded.
    measures
        What ought not to tell the class: its size, its length.
    quality
        Numbers that are judged when those of all others are known.
    """

    thumbnail: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((SIDE, SIDE), np.uint8))
    features: NDArray[np.float32] | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def broken(reason: object) -> Look:
    """Return the look at what cannot be decoded."""
    return Look(faults=(Fault("broken", 1.0, _("It cannot be decoded: {reason}.", reason=reason)),))
