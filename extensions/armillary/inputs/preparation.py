"""What becomes of raw input before it has the form of a dataset's examples: the steps that travel with a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from armillary.inputs import value_steps

if TYPE_CHECKING:
    from PIL.Image import Image

    from armillary.inputs.input_spec import InputSpec

Steps = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class RawField:
    """One value of a table's raw example: a number, or with ``choices`` a category. ``example`` is a usual value."""

    name: str
    choices: tuple[str, ...] = ()
    example: float = 0.0


@dataclass(frozen=True)
class Preparation:
    """The steps from raw input to an example as the dataset holds it.

    Attributes
    ----------
    steps
        Each as `picture_steps` or `value_steps` describe it, in order.
    shape
        Pictures: ``(height, width, channels)`` that a raw one is brought to before the steps, None for any size.
    channels
        Pictures of any size: 1 (grey) or 3 (RGB), which a raw one gets before the steps.
    fields
        Tables: what a raw example consists of.
    left_out
        Steps that made the examples but cannot travel: functions of one's own. Whoever asks the model has to give
        input on which they have been done.
    """

    steps: Steps
    shape: tuple[int, ...] | None = None
    channels: int = 3
    fields: tuple[RawField, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "steps": [dict(step) for step in self.steps],
            "shape": list(self.shape) if self.shape else None,
            "channels": self.channels,
            "fields": [asdict(field) | {"choices": list(field.choices)} for field in self.fields],
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preparation:
        """Return the preparation that ``to_json`` wrote."""
        fields = (RawField(field["name"], tuple(field["choices"]), field["example"]) for field in values["fields"])
        shape = tuple(values["shape"]) if values["shape"] else None
        return cls(tuple(values["steps"]), shape, values["channels"], tuple(fields), tuple(values["left_out"]))

    def picture(self, data: bytes) -> Image:
        """Return the picture of a file after the steps.

        Raises
        ------
        BadPictureError
            When the file is no picture, or a step cannot be taken with it.
        """
        from armillary.inputs import picture_steps
        from armillary.inputs.pictures import decode

        if self.shape is None:
            return picture_steps.after(picture_steps.opened(data, self.steps, self.channels), self.steps)
        return self.of_image(decode(data))

    def of_image(self, image: Image) -> Image:
        """Return a decoded picture after the steps."""
        from armillary.inputs import picture_steps
        from armillary.inputs.pictures import fitted, flattened

        if self.shape is None:
            return picture_steps.after(flattened(image, self.channels), self.steps)
        height, width, channels = self.shape
        image = fitted(image, (width, height), channels)
        return picture_steps.after(image, self.steps)

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a table's raw example after the steps."""
        return value_steps.after(values, self.steps)


def raw_fields(spec: InputSpec) -> tuple[RawField, ...]:
    """Return what an example of a table consists of; the columns ``colour=red``, ``colour=blue`` are one field."""
    fields: dict[str, RawField] = {}
    for column, mean in zip(spec.columns, spec.mean, strict=True):
        name, equals, value = column.partition("=")
        if equals:
            known = fields.get(name, RawField(name))
            fields[name] = RawField(name, (*known.choices, value))
        else:
            fields[column] = RawField(column, example=float(f"{mean:.3g}"))
    return tuple(fields.values())
