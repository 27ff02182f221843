"""Steps that change training examples at random: more kinds of the same for a model to learn from.

Each draws its chance from the seed, its place in the recipe, the row and the copy, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageEnhance

from armillary.datasets.features import Array, Audio, Feature, Image, Value
from armillary.datasets.preparing.picture_steps import PictureStep, picture_of, redrawn
from armillary.datasets.preparing.rows import Sound, array_of
from armillary.datasets.preparing.step import (
    Augmentation,
    Bound,
    Form,
    Refused,
    Row,
    refuse_boxes,
    refuse_same_names,
)
from armillary.errors import DatasetError
from armillary.inputs.picture_steps import Moved
from armillary.inputs.pictures import flattened

_ = translator(__file__)

_BILINEAR = PillowImage.Resampling.BILINEAR

Chance = Callable[[], np.random.Generator]


class _PictureAugmentation(PictureStep, Augmentation):
    """A step that changes pictures at random."""

    def draw(self, value: Any, channels: int, random: Chance) -> Moved:
        """Return the changed picture; every picture of a row gets the same change."""
        return self.change(picture_of(value, channels), random())

    def change(self, picture: Any, random: np.random.Generator) -> Moved:
        """Return the changed picture."""
        raise NotImplementedError


@dataclass(frozen=True)
class Flip(_PictureAugmentation):
    """Mirror pictures: left and right (``"horizontal"``), up and down (``"vertical"``), or each (``"both"``)."""

    name = "flip"
    choices: ClassVar = {"direction": ("horizontal", "vertical", "both")}
    direction: str = "horizontal"
    probability: float = 0.5

    def check(self) -> None:
        """Refuse probabilities above 1."""
        self.require_share("probability")

    def change(self, picture: Any, random: np.random.Generator) -> Moved:
        """Mirror it, or not."""
        across, over = random.random(2) < self.probability
        new = Moved(picture)
        if across and self.direction != "vertical":
            flipped = new.picture.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
            new = new._replace(picture=flipped, scale_x=-1.0, shift_x=float(picture.width))
        if over and self.direction != "horizontal":
            flipped = new.picture.transpose(PillowImage.Transpose.FLIP_TOP_BOTTOM)
            new = new._replace(picture=flipped, scale_y=-1.0, shift_y=float(picture.height))
        return new


@dataclass(frozen=True)
class Rotate(_PictureAugmentation):
    """Turn pictures by up to so many degrees, either way; corners that become empty are black."""

    name = "rotate"
    degrees: float = 15.0

    def check(self) -> None:
        """Refuse negative angles."""
        self.require_from_0("degrees")

    def form_after(self, at: Bound) -> Form:
        """Return the columns as they are; boxes cannot be turned."""
        refuse_boxes(self.name, at.before)
        return super().form_after(at)

    def change(self, picture: Any, random: np.random.Generator) -> Moved:
        """Turn it."""
        return Moved(picture.rotate(random.uniform(-self.degrees, self.degrees), _BILINEAR))


@dataclass(frozen=True)
class Shear(_PictureAugmentation):
    """Slant pictures by up to so many degrees, either way, around their middle."""

    name = "shear"
    degrees: float = 10.0

    def check(self) -> None:
        """Refuse negative angles, and those that leave nothing to be seen."""
        self.require_from_0("degrees")
        self.require(self.degrees < 80, "degrees", _("Give less than 80."))

    def form_after(self, at: Bound) -> Form:
        """Return the columns as they are; boxes cannot be slanted."""
        refuse_boxes(self.name, at.before)
        return super().form_after(at)

    def change(self, picture: Any, random: np.random.Generator) -> Moved:
        """Slant it."""
        slope = float(np.tan(np.radians(random.uniform(-self.degrees, self.degrees))))
        matrix = (1, slope, -slope * picture.height / 2, 0, 1, 0)
        return Moved(picture.transform(picture.size, PillowImage.Transform.AFFINE, matrix, _BILINEAR))


@dataclass(frozen=True)
class Zoom(_PictureAugmentation):
    """Bring a part of each picture to its full size; the part's sides are at least ``least`` of the whole's."""

    name = "zoom"
    least: float = 0.8

    def check(self) -> None:
        """Refuse shares of 0 and above 1."""
        self.require_share("least")
        self.require(self.least > 0, "least", _("Give more than 0."))

    def change(self, picture: Any, random: np.random.Generator) -> Moved:
        """Cut the part out and enlarge it."""
        share, x, y = random.uniform(self.least, 1), *random.random(2)
        left, top = x * (1 - share) * picture.width, y * (1 - share) * picture.height
        box = (left, top, left + share * picture.width, top + share * picture.height)
        new = picture.resize(picture.size, _BILINEAR, box=box)
        return Moved(new, 1 / share, 1 / share, -left / share, -top / share)


@dataclass(frozen=True)
class Colour(_PictureAugmentation):
    """Change brightness, contrast and colourfulness, each by a factor of up to ``1 ± amount``."""

    name = "colour"
    moves = False
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def check(self) -> None:
        """Refuse amounts above 1."""
        for parameter in ("brightness", "contrast", "saturation"):
            self.require_share(parameter)

    def change(self, picture: Any, random: np.random.Generator) -> Moved:
        """Change it."""
        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        amounts = (self.brightness, self.contrast, self.saturation)
        for kind, amount, chance in zip(kinds, amounts, random.uniform(-1, 1, 3), strict=True):
            picture = kind(picture).enhance(1 + amount * float(chance)) if amount else picture
        return Moved(picture)


@dataclass(frozen=True)
class Noise(PictureStep, Augmentation):
    """Add Gaussian noise to pictures, sounds and arrays: its deviation is ``amount`` of their full range.

    The full range is 0 to 255 of pixels, 0 to 1 of samples, and one deviation of an array's own values.
    """

    name = "noise"
    moves = False
    amount: float = 0.02

    def check(self) -> None:
        """Refuse negative amounts."""
        self.require_from_0("amount")

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds pictures, sounds or arrays of floats."""
        return super().fits(feature) or isinstance(feature, Audio) or is_float_array(feature)

    def form_after(self, at: Bound) -> Form:
        """Return the columns as they are."""
        return at.before

    def draw(self, value: Any, channels: int, random: Chance) -> Moved:
        """Return the noisy picture."""
        picture = picture_of(value, channels)
        pixels = np.asarray(picture, np.float32)
        noisy = pixels + random().normal(0, 255 * self.amount, pixels.shape)
        return Moved(PillowImage.fromarray(np.clip(noisy, 0, 255).round().astype(np.uint8)))

    def apply(self, row: Row, at: Bound) -> bool:
        """Add noise to one row."""
        pictures = tuple(column for column in at.columns if super(Noise, self).fits(at.before.features[column]))
        for column in set(at.columns) - set(pictures):
            if row.values[column] is not None:
                row.values[column] = self._noisy(row.values[column], at.random(row))
        return super().apply(row, replace(at, columns=pictures))

    def _noisy(self, value: Any, random: np.random.Generator) -> Any:
        if hasattr(value, "sound"):
            samples, rate = value.sound()
            noisy = samples + random.normal(0, self.amount, samples.shape)
            return Sound(np.asarray(noisy, np.float32), rate, value.path)
        array = np.asarray(value, np.float32)
        deviation = float(array.std()) if array.size else 0.0
        return array + random.normal(0, self.amount * deviation, array.shape).astype(np.float32)


@dataclass(frozen=True)
class Mixup(Augmentation):
    """Lay two training pictures over each other (Zhang et al., 2018), with weights drawn from a Beta distribution.

    The class stays that of the picture with more weight; ``<class>_mixed`` is the other's and ``<class>_share`` the
    weight of the first, 1 where nothing was mixed. The partner comes from the same row group, so that it lies in
    memory; pictures must have one size.
    """

    name = "mixup"
    alpha: float = 0.2

    def check(self) -> None:
        """Refuse weights that no distribution has."""
        self.require_from_0("alpha")
        self.require(self.alpha > 0, "alpha", _("Give more than 0."))

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a picture."""
        return isinstance(feature, Image)

    def form_after(self, at: Bound) -> Form:
        """Return the form with the class and weight of the partner."""
        refuse_boxes(self.name, at.before)
        for column in at.columns:
            if at.before.pictures[column].height is None or at.before.pictures[column].width is None:
                what = _("Step {step!r} needs pictures of one size in {column!r}.", step=self.name, column=column)
                raise DatasetError(what, _("Put resize before it."))
        target = at.before.target
        if target is None:
            return at.before
        made = {f"{target}_mixed": at.before.features[target], f"{target}_share": Value("float32")}
        refuse_same_names(self.name, at.before, made)
        return at.before.with_features(made)

    def stream(self, rows: Iterator[Row | Refused], at: Bound) -> Iterator[Row | Refused]:
        """Yield the rows, those to be augmented mixed with another of them."""
        here = list(rows)
        partners = [
            (row, {column: self._flat(row, column, at) for column in at.columns})
            for row in here
            if isinstance(row, Row) and row.augmented and all(row.values[column] is not None for column in at.columns)
        ]
        mixed = {(row.number, row.copy): (row, pictures) for row, pictures in partners}
        labels = {key: row.values.get(at.before.target or "") for key, (row, _pictures) in mixed.items()}
        for row in here:
            if isinstance(row, Row):
                self._mix(row, at, mixed, labels)
            yield row

    @staticmethod
    def _flat(row: Row, column: str, at: Bound) -> Any:
        """Return a picture with the channels that all have."""
        channels = at.before.pictures[column].channels
        return flattened(picture_of(row.values[column], channels), channels)

    def _mix(self, row: Row, at: Bound, mixed: dict[Any, Any], labels: dict[Any, Any]) -> None:
        target = at.before.target
        share, label = 1.0, row.values.get(target or "")
        if (row.number, row.copy) in mixed:
            random = at.random(row)
            drawn = float(random.beta(self.alpha, self.alpha))
            share, key = max(drawn, 1 - drawn), list(mixed)[int(random.integers(len(mixed)))]
            label = labels[key]
            for column in at.columns:
                mine, other = mixed[row.number, row.copy][1][column], mixed[key][1][column]
                row.values[column] = redrawn(row.values[column], PillowImage.blend(other, mine, share))
        if target is not None:
            row.values |= {f"{target}_mixed": label, f"{target}_share": share}


@dataclass(frozen=True)
class SpecAugment(Augmentation):
    """Hide bands and stretches of time of spectrograms (Park et al., 2019): they get the spectrogram's mean.

    ``masks`` of each kind, of up to ``bands`` bands and up to ``frames`` frames.
    """

    name = "spec_augment"
    bands: int = 8
    frames: int = 20
    masks: int = 1

    def check(self) -> None:
        """Refuse masks of no width."""
        self.require_positive("bands", "frames", "masks")

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a spectrogram."""
        return is_float_array(feature) and len(getattr(feature, "shape", ())) == 2

    def apply(self, row: Row, at: Bound) -> bool:
        """Hide parts of one row's spectrograms."""
        for column in at.columns:
            if row.values[column] is not None:
                array = array_of(at.before.features[column], row.values[column]).astype(np.float32)
                row.values[column] = self._masked(array, at.random(row))
        return True

    def _masked(self, array: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
        mean = array.mean() if array.size else 0.0
        for _mask in range(self.masks):
            for axis, most in ((0, self.frames), (1, self.bands)):
                width = int(random.integers(0, min(most, array.shape[axis]) + 1))
                first = int(random.integers(0, array.shape[axis] - width + 1))
                hidden = np.s_[first : first + width] if axis == 0 else np.s_[:, first : first + width]
                array[hidden] = mean
        return array


def is_float_array(feature: Feature) -> bool:
    """Return whether a column holds an array of floats."""
    return isinstance(feature, Array) and feature.dtype.startswith("float")
