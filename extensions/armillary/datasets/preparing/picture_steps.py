"""Steps for pictures. What they do is `armillary.inputs.picture_steps`, which an app's page uses, too."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.features import Boxes, Feature, Image
from armillary.datasets.media import Medium
from armillary.datasets.preparing.rows import PNG, Drawn
from armillary.datasets.preparing.step import Bound, Form, PictureForm, Row, Step, is_pictures
from armillary.errors import DatasetError
from armillary.inputs.picture_steps import Moved, moved, opened
from armillary.inputs.pictures import upright_size

_ = translator(__file__)

#: Pixels become numbers in [0, 1] before they are normalised, as `InputSpec.scale` says.
_SCALE = 1 / 255


class PictureStep(Step):
    """A step that changes pictures, and the boxes in them."""

    #: Whether pixels go to other places, and boxes with them.
    moves: ClassVar[bool] = True

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a picture, or a list of them."""
        return is_pictures(feature)

    def form_after(self, at: Bound) -> Form:
        """Return the columns with pictures of the new size."""
        if self.moves:
            _check_boxes(self.name, at)
        form = at.before
        for column in at.columns:
            form = form.with_pictures((column,), self.picture_form(at.before.pictures[column]))
        return form

    def picture_form(self, before: PictureForm) -> PictureForm:
        """Return what is known of the pictures after the step."""
        return before

    @abstractmethod
    def draw(self, value: Any, channels: int, random: Callable[[], np.random.Generator]) -> Moved:
        """Return the changed picture."""

    def apply(self, row: Row, at: Bound) -> bool:
        """Change the pictures of one row, and its boxes."""
        for column in at.columns:
            value, channels = row.values[column], at.before.pictures[column].channels

            def draw(value: Any, channels: int = channels) -> Moved:
                return self.draw(value, channels, lambda: at.random(row))

            if isinstance(value, list):
                row.values[column] = [each if each is None else redrawn(each, draw(each).picture) for each in value]
            elif value is not None:
                new = draw(value)
                row.values[column] = redrawn(value, new.picture)
                if self.moves and at.before.of(Boxes):
                    move_boxes(row, at.before, _from_its_file(new, value))
        return True


def picture_of(value: Any, channels: int, step: dict[str, Any] | None = None) -> Any:
    """Return the picture of a value: as it is drawn, or of a file, as large as the step needs it."""
    return value.image() if isinstance(value, Drawn) else opened(value.read(), [step] if step else [], channels)


def redrawn(value: Drawn | Medium, picture: Any) -> Drawn:
    """Return a changed picture in the place of another."""
    return replace(value, picture=picture) if isinstance(value, Drawn) else Drawn(picture, value.path)


def _check_boxes(step: str, at: Bound) -> None:
    if at.before.of(Boxes) and len(at.before.of(Image)) > 1:
        raise DatasetError(
            _("Step {step!r} cannot know in which of several pictures the boxes lie.", step=step),
            _("Leave out the other pictures first."),
        )


def _from_its_file(new: Moved, value: Drawn | Medium) -> Moved:
    """Return where the pixels of a file went: boxes count those, but a large JPEG is decoded smaller."""
    if isinstance(value, Drawn) or new.decoded is None:
        return new
    width, height = upright_size(value.read())
    return new._replace(scale_x=new.scale_x * new.decoded[0] / width, scale_y=new.scale_y * new.decoded[1] / height)


def move_boxes(row: Row, form: Form, new: Moved) -> None:
    """Move the boxes of a row with the pixels of its picture; what lies outside now is cut off."""
    for column in form.of(Boxes):
        boxes = row.values[column]
        if boxes is None:
            continue
        kept = [
            (_moved_box(box, new), category) for box, category in zip(boxes["bbox"], boxes["category"], strict=True)
        ]
        inside = [(box, category) for box, category in kept if box[2] > 0 and box[3] > 0]
        row.values[column] = {"bbox": [box for box, _category in inside], "category": [each for _box, each in inside]}


def _moved_box(box: list[float], new: Moved) -> list[float]:
    left, right = sorted(new.scale_x * x + new.shift_x for x in (box[0], box[0] + box[2]))
    top, bottom = sorted(new.scale_y * y + new.shift_y for y in (box[1], box[1] + box[3]))
    left, right = (float(np.clip(x, 0, new.picture.width)) for x in (left, right))
    top, bottom = (float(np.clip(y, 0, new.picture.height)) for y in (top, bottom))
    return [left, top, right - left, bottom - top]


class _Fixed(PictureStep):
    """A step without chance, which an app takes, too."""

    travels = True

    def draw(self, value: Any, channels: int, random: Callable[[], np.random.Generator]) -> Moved:
        step = self.travelling_step
        picture = picture_of(value, channels, step)
        return moved(picture, step)._replace(decoded=picture.size)

    @property
    def travelling_step(self) -> dict[str, Any]:
        """The step as an app takes it."""
        return {name: value for name, value in self.to_json().items() if name != "columns"}

    def travelling(self, _at: Bound) -> dict[str, Any]:
        """Return the step as an app takes it."""
        return self.travelling_step


@dataclass(frozen=True)
class Resize(_Fixed):
    """Bring pictures to one size, in pixels; those of a dataset without one size have three channels then.

    ``how`` is ``"stretch"`` (the sides may change their proportion), ``"cover"`` (they keep it; what sticks out is cut
    off) or ``"contain"`` (they keep it; what is missing becomes black).
    """

    name = "resize"
    choices: ClassVar = {"how": ("stretch", "cover", "contain")}
    height: int = 224
    width: int = 224
    how: str = "stretch"

    def check(self) -> None:
        """Refuse sizes below 1."""
        self.require_positive("height", "width")

    def picture_form(self, before: PictureForm) -> PictureForm:
        """Return the new size."""
        return replace(before, height=self.height, width=self.width)


@dataclass(frozen=True)
class Crop(_Fixed):
    """Cut the middle out of pictures, in pixels."""

    name = "crop"
    height: int = 224
    width: int = 224

    def check(self) -> None:
        """Refuse sizes below 1."""
        self.require_positive("height", "width")

    def picture_form(self, before: PictureForm) -> PictureForm:
        """Return the new size."""
        return replace(before, height=self.height, width=self.width)


@dataclass(frozen=True)
class Grey(_Fixed):
    """Take the colours away: pictures have one channel then."""

    name = "grey"
    moves = False

    def picture_form(self, before: PictureForm) -> PictureForm:
        """Return that there is one channel."""
        return replace(before, channels=1)


@dataclass(frozen=True)
class SaveAs(Step):
    """Say how changed pictures are stored: ``"png"`` without loss (as without this step), or ``"jpeg"``.

    JPEG takes a tenth of the space and changes pixels a little; an app does not do that to its input.
    """

    name = "save_as"
    choices: ClassVar = {"format": ("png", "jpeg")}
    format: str = "jpeg"
    quality: int = 90

    def check(self) -> None:
        """Refuse qualities that there are not."""
        self.require_positive("quality")
        self.require(self.quality <= 100, "quality", _("Give a whole number from 1 to 100."))

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a picture, or a list of them."""
        return is_pictures(feature)

    def form_after(self, at: Bound) -> Form:
        """Return the form with the format."""
        form = at.before
        for column in at.columns:
            options = PNG if self.format == "png" else {"format": "JPEG", "quality": self.quality}
            form = form.with_pictures((column,), replace(form.pictures[column], options=tuple(options.items())))
        return form

    def apply(self, row: Row, at: Bound) -> bool:
        """Leave that to the end."""
        return True


@dataclass(frozen=True)
class Normalise(Step):
    """Make the pixels of each channel ``(pixel / 255 - mean) / std``, when a model reads them.

    The files stay as they are. Without ``mean`` and ``std``, those of the training examples are taken; give those of
    the data that a network was trained on before.
    """

    name = "normalise"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def check(self) -> None:
        """Refuse means without deviations, and deviations of 0."""
        for parameter in ("mean", "std"):
            given = getattr(self, parameter)
            numbers = all(isinstance(each, (int, float, np.number)) and np.isfinite(each) for each in given)
            self.require(numbers, parameter, _("Give numbers."))
        self.require(len(self.mean) in (0, 1, 3), "mean", _("Give one number for each channel: 1 or 3."))
        self.require(len(self.std) == len(self.mean), "std", _("Give as many numbers as for mean."))
        self.require(all(each > 0 for each in self.std), "std", _("Give numbers above 0."))

    @property
    def learns(self) -> bool:
        """Whether no mean was given."""
        return not self.mean

    def fits(self, feature: Feature) -> bool:
        """Return whether a column holds a picture."""
        return isinstance(feature, Image)

    def form_after(self, at: Bound) -> Form:
        """Return the form with what the readers do."""
        form = at.before.pictures[at.columns[0]]
        if len(at.columns) > 1:
            raise DatasetError(_("Step {step!r} works on one column of pictures.", step=self.name), _("Name it."))
        learned = at.learned or {"mean": self.mean, "std": self.std}
        mean, std = tuple(learned["mean"]), tuple(learned["std"])
        self.require(
            len(mean) == form.channels, "mean", _("Give one number for each of {n} channels.", n=form.channels)
        )
        return replace(at.before, normalised=(mean, std))

    def apply(self, row: Row, at: Bound) -> bool:
        """Leave the files as they are."""
        return True

    def start(self, at: Bound) -> Any:
        """Return sums over no pixels: whole numbers, so that their order does not matter."""
        channels = at.before.pictures[at.columns[0]].channels
        return {"pixels": 0, "sums": [0] * channels, "squares": [0] * channels}

    def see(self, known: Any, row: Row, at: Bound) -> None:
        """Add the pixels of one picture."""
        value = row.values[at.columns[0]]
        if value is None:
            return
        channels = len(known["sums"])
        pixels = np.asarray(picture_of(value, channels), np.uint8).reshape(-1, channels)
        for channel in range(channels):
            counts = np.bincount(pixels[:, channel], minlength=256)
            known["sums"][channel] += int(counts @ np.arange(256))
            known["squares"][channel] += int(counts @ np.arange(256) ** 2)
        known["pixels"] += len(pixels)

    def merge(self, known: Any, more: Any) -> Any:
        """Add up."""
        both = {key: [a + b for a, b in zip(known[key], more[key], strict=True)] for key in ("sums", "squares")}
        return {"pixels": known["pixels"] + more["pixels"], **both}

    def conclude(self, known: Any, at: Bound) -> Any:
        """Return mean and deviation of scaled pixels."""
        pixels = max(1, known["pixels"])
        mean = [total / pixels for total in known["sums"]]
        variance = [squares / pixels - each**2 for squares, each in zip(known["squares"], mean, strict=True)]
        std = [float(np.sqrt(max(each, 0.0))) * _SCALE or 1.0 for each in variance]
        return {"mean": [each * _SCALE for each in mean], "std": std}
