"""The steps that pictures take before a model sees them: the same functions prepare a dataset and an app's input.

A step is described by plain values, as a recipe stores it: ``{"step": "resize", "height": 224, "width": 224}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from armillary_kernels.texts import translator
from PIL import Image

from armillary.inputs.pictures import BadPictureError, decode_stored, flattened

if TYPE_CHECKING:
    from collections.abc import Callable

_ = translator(__file__)

Size = tuple[int, int]


class Moved(NamedTuple):
    """A changed picture, and where its pixels went: ``x`` became ``scale_x * x + shift_x``, and so did ``y``.

    ``decoded`` is the size (width, height) at which the picture was taken from its file, where that may be smaller.
    """

    picture: Image.Image
    scale_x: float = 1.0
    scale_y: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    decoded: Size | None = None


def opened(data: bytes, steps: Sequence[Mapping[str, Any]], channels: int) -> Image.Image:
    """Return the picture of a file, upright and flat, as large as the first of ``steps`` needs it.

    Raises
    ------
    BadPictureError
        When the file is no picture.
    """
    first = steps[0] if steps else {}
    # A JPEG decoded small and then resampled differs from one resampled from its full size by less (42 dB and more, on
    # photographs) than one customary filter from another (36 dB), in half of the time.
    at_least = max(first["height"], first["width"]) if first.get("step") == "resize" else None
    return flattened(decode_stored(data, at_least=at_least), channels)


def moved(picture: Image.Image, step: Mapping[str, Any]) -> Moved:
    """Return the picture after one step.

    Raises
    ------
    BadPictureError
        When the step cannot be taken with this picture.
    """
    return _STEPS[step["step"]](picture, **{name: value for name, value in step.items() if name in _PARAMETERS})


def after(picture: Image.Image, steps: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Return the picture after all steps."""
    for step in steps:
        picture = moved(picture, step).picture
    return picture


def resize(picture: Image.Image, height: int, width: int, how: str = "stretch") -> Moved:
    """Bring a picture to one size.

    Parameters
    ----------
    how
        ``"stretch"``: the sides may change their proportion. ``"cover"``: they keep it, and what sticks out is cut off
        on both sides alike. ``"contain"``: they keep it, and what is missing becomes black, on both sides alike.
    """
    if how == "stretch":
        return _resized(picture, (width, height))
    choose = max if how == "cover" else min
    factor = choose(width / picture.width, height / picture.height)
    inner = _resized(picture, (max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))
    return _placed(inner, (width, height))


def crop(picture: Image.Image, height: int, width: int) -> Moved:
    """Cut the middle out of a picture."""
    if picture.width < width or picture.height < height:
        have, wanted = f"{picture.width} × {picture.height}", f"{width} × {height}"
        raise BadPictureError(
            _("it has {have} pixels, fewer than the {wanted} to be cut out", have=have, wanted=wanted)
        )
    return _placed(Moved(picture), (width, height))


def grey(picture: Image.Image) -> Moved:
    """Take the colours away."""
    return Moved(picture.convert("L"))


def _resized(picture: Image.Image, size: Size) -> Moved:
    if picture.size == size:
        return Moved(picture)
    new = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Moved(new, size[0] / picture.width, size[1] / picture.height)


def _placed(inner: Moved, size: Size) -> Moved:
    """Put a picture into the middle of another of this size."""
    left, top = ((side - have) // 2 for side, have in zip(size, inner.picture.size, strict=True))
    box = (-left, -top, size[0] - left, size[1] - top)
    return Moved(inner.picture.crop(box), inner.scale_x, inner.scale_y, float(left), float(top))


_STEPS: dict[str, Callable[..., Moved]] = {"resize": resize, "crop": crop, "grey": grey}
_PARAMETERS = frozenset({"height", "width", "how"})
