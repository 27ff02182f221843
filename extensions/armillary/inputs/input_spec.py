"""What a model takes in: the shape of one raw example and how it becomes numbers around 0 to 1.

Needs numpy alone, so that training, evaluation, publishing and an app's server share the very same arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import ArrayLike, NDArray

from armillary.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image

    from armillary.inputs.preparation import Preparation

_ = translator(__file__)

Layout = Literal["channels_last", "channels_first"]


@dataclass(frozen=True)
class InputSpec:
    """The raw form of one example and its normalisation.

    Attributes
    ----------
    kind
        ``"image"`` or ``"table"``.
    shape
        Of one raw example: ``(height, width, channels)`` or ``(features,)``.
    dtype
        Of the raw example: ``"uint8"`` for images, ``"float32"`` for tables.
    scale
        Images: pixels are multiplied by it (1/255 brings them to [0, 1]).
    mean, std
        Tables: per column, over the training split; a prepared value is ``(x - mean) / std``, a missing one 0.
        Images: per channel, of scaled pixels; empty where they are not normalised.
    columns
        Tables: the name of each column. A category is one column per value, named ``column=value``.
    preparation
        The steps from raw input to an example as the dataset holds it, where a recipe made the dataset.
    """

    kind: Literal["image", "table"]
    shape: tuple[int, ...]
    dtype: str = "uint8"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    preparation: Preparation | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return plain | {"preparation": self.preparation.to_json() if self.preparation else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> InputSpec:
        """Return the spec that ``to_json`` wrote."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        if given.get("preparation"):
            from armillary.inputs.preparation import Preparation

            given["preparation"] = Preparation.from_json(given["preparation"])
        return cls(**given)

    def prepared_shape(self, layout: Layout = "channels_last") -> tuple[int, ...]:
        """Return the shape of one example after `prepare`."""
        if self.kind == "image" and layout == "channels_first":
            return (self.shape[2], *self.shape[:2])
        return self.shape

    def prepare(
        self,
        X: ArrayLike,  # noqa: N803 (scikit-learn's name for a matrix of examples)
        layout: Layout = "channels_last",
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return raw examples as the network takes them.

        Parameters
        ----------
        X
            Raw examples, ``(n, *shape)``; grey images may lack their last axis. Pixels run from 0 to 255.
        layout
            ``"channels_last"`` ``(n, height, width, channels)`` for TensorFlow, ``"channels_first"``
            ``(n, channels, height, width)`` for PyTorch. Tables take no notice of it.
        out
            Images: where to write them; a new array by default.

        Raises
        ------
        DatasetError
            When the examples have another shape.
        """
        raw = self._checked(np.asarray(X))
        if self.kind == "table":
            return self._standardised(raw)
        if layout == "channels_first":
            raw = raw.transpose(0, 3, 1, 2)
        pixels = np.multiply(raw, np.float32(self.scale), out=out, dtype=np.float32, order="C")
        return self._normalised(pixels, layout) if self.mean else pixels

    def image_array(self, image: Image) -> NDArray[np.uint8]:
        """Return any Pillow image in the raw form ``(height, width, channels)``: prepared, grey or RGB, resized."""
        from armillary.inputs.pictures import as_array, fitted

        height, width, channels = self.shape
        if self.preparation is not None:
            image = self.preparation.of_image(image)
        return as_array(fitted(image, (width, height), channels))

    def picture_array(self, data: bytes) -> NDArray[np.uint8]:
        """Return the picture of a file in the raw form ``(height, width, channels)``, by the steps of the dataset.

        Raises
        ------
        BadPictureError
            When the file is no picture, or a step cannot be taken with it.
        """
        from armillary.inputs.pictures import as_array, decode, fitted

        height, width, channels = self.shape
        if self.preparation is None:
            return self.image_array(decode(data))
        return as_array(fitted(self.preparation.picture(data), (width, height), channels))

    def _checked(self, raw: NDArray[Any]) -> NDArray[Any]:
        if self.kind == "image" and raw.ndim == 3 and self.shape[-1] == 1 and raw.shape[1:] == self.shape[:2]:
            raw = raw[..., None]
        if raw.shape[1:] != self.shape or raw.ndim != len(self.shape) + 1:
            wanted = ", ".join(str(size) for size in self.shape)
            raise DatasetError(
                _("The examples have shape {shape}; this dataset's are (n, {wanted}).", shape=raw.shape, wanted=wanted),
                _("Give an array with the number of examples first and that shape after it."),
            )
        return raw

    def _normalised(self, pixels: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
        """Normalise scaled pixels ``(n, ...)`` in place, channel by channel."""
        axes = (-1, 1, 1) if layout == "channels_first" else (-1,)
        pixels -= np.asarray(self.mean, np.float32).reshape(axes)
        pixels /= np.asarray(self.std, np.float32).reshape(axes)
        return pixels

    def _standardised(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        prepared = ((raw.astype(np.float64) - mean) / std).astype(np.float32)
        return np.where(np.isfinite(prepared), prepared, np.float32(0))


def image_spec(height: int, width: int, channels: int) -> InputSpec:
    """Return the spec of 8-bit images, scaled to [0, 1]."""
    return InputSpec("image", (height, width, channels))


def table_spec(values: NDArray[np.float32], columns: tuple[str, ...]) -> InputSpec:
    """Return the spec of a table, with the mean and deviation of each column of ``values`` ``(n, features)``.

    ``values`` are the training examples alone; missing ones (NaN) are left out. A constant column has deviation 1.
    """
    known = np.ma.masked_invalid(values.astype(np.float64))
    mean = known.mean(axis=0).filled(0.0)
    std = known.std(axis=0).filled(1.0)
    std = np.where(std > 0, std, 1.0)
    numbers = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    return InputSpec("table", (values.shape[1],), "float32", 1.0, *numbers, columns)
