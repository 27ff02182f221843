"""One look at a video: four of its pictures."""

from __future__ import annotations

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.looks import Fault, Look
from armillary.datasets.checking.near import SIDE
from armillary.datasets.checking.pictures import look_at
from armillary.datasets.media import Medium

_ = translator(__file__)

_PICTURES = 4


def look_at_video(medium: Medium) -> Look:
    """Return what is kept of a video: of its four pictures a mosaic, their features' mean, and the worst quality."""
    from PIL import Image

    frames = list(medium.some_frames(_PICTURES))
    height, width = frames[0].shape[:2]
    aspect = {"aspect_ratio": min(width / height, height / width)}
    looks = [look_at(Image.fromarray(frame), {"width": width, "height": height}, aspect) for frame in frames]
    blank = all(look.faults for look in looks)
    return Look(
        thumbnail=_mosaic([look.thumbnail for look in looks]),
        features=np.mean([look.features for look in looks if look.features is not None], axis=0),
        measures=looks[0].measures,
        quality={name: float(np.median([look.quality[name] for look in looks])) for name in looks[0].quality},
        faults=(Fault("blank", 1.0, _("All of its pictures have one colour only.")),) if blank else (),
    )


def _mosaic(thumbnails: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    half = SIDE // 2
    small = [each.reshape(half, 2, half, 2).mean(axis=(1, 3)) for each in thumbnails]
    small += small[-1:] * (_PICTURES - len(small))
    return np.block([[small[0], small[1]], [small[2], small[3]]]).astype(np.uint8)
