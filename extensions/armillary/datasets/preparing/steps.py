"""All steps that a recipe may have.

>>> from armillary.datasets import Recipe, steps
>>> Recipe([steps.Resize(224, 224), steps.Normalise()])
"""

from __future__ import annotations

from armillary.datasets.preparing.augmenting import (
    Colour,
    Flip,
    Mixup,
    Noise,
    Rotate,
    Shear,
    SpecAugment,
    Zoom,
)
from armillary.datasets.preparing.media_steps import Resample, SampleFrames, Spectrogram
from armillary.datasets.preparing.own_steps import Filter, Map
from armillary.datasets.preparing.picture_steps import Crop, Grey, Normalise, Resize, SaveAs
from armillary.datasets.preparing.table_steps import Encode, Impute, Scale
from armillary.datasets.preparing.text_steps import BackOffWords, Pad, Tokenise

__all__ = [
    "BackOffWords",
    "Colour",
    "Crop",
    "Encode",
    "Filter",
    "Flip",
    "Grey",
    "Impute",
    "Map",
    "Mixup",
    "Noise",
    "Normalise",
    "Pad",
    "Resample",
    "Resize",
    "Rotate",
    "SampleFrames",
    "SaveAs",
    "Scale",
    "Shear",
    "SpecAugment",
    "Spectrogram",
    "Tokenise",
    "Zoom",
]
