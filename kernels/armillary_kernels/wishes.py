"""What somebody wants of the GPUs: none, some whole ones, or a share of the memory of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.texts import translator

_ = translator(__file__)

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([GM])(?:i?B)?", re.IGNORECASE)
_MIB = {"G": 1024, "M": 1}

#: More than any machine has: the GPUs, and the MiB of one, at which the pool stops to read a request.
MOST_GPUS, MOST_MEMORY = 1024, 2**24

#: Letters of what somebody wrote that an error repeats.
_QUOTED = 40


class GpuWishError(ArmillaryError):
    """What was written is no number of GPUs and no size of memory, or more than any machine has."""


@dataclass(frozen=True)
class GpuWish:
    """So many whole GPUs, or ``memory`` MiB of one.

    Raises
    ------
    GpuWishError
        If no machine has as much.
    """

    devices: int = 1
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.devices > MOST_GPUS or (self.memory or 0) > MOST_MEMORY:
            raise _too_much(str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2`` for two GPUs, ``0`` for none, ``4GiB`` or ``500MiB`` for a share of one.

        Raises
        ------
        GpuWishError
            If it is none of these, or more than any machine has.
        """
        text = text.strip()
        try:
            if text.isascii() and text.isdecimal():
                return cls(int(text))
            if (found := _SIZE.fullmatch(text)) and (memory := round(float(found[1]) * _MIB[found[2].upper()])):
                return cls(1, memory)
        except (ValueError, OverflowError):  # hundreds of digits
            raise _too_much(text) from None
        what = _("'{text}' is no number of GPUs and no size of memory.", text=_short(text))
        raise GpuWishError(what, _write())

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return what `to_json` was called on."""
        return cls(int(value["devices"]), None if value.get("memory") is None else int(value["memory"]))

    def to_json(self) -> dict[str, int | None]:
        """Return it as JSON has it."""
        return {"devices": self.devices, "memory": self.memory}

    def __str__(self) -> str:
        if self.memory is not None:
            return _("{size} of a GPU", size=size_text(self.memory))
        if self.devices == 0:
            return _("no GPU")
        return _("1 GPU") if self.devices == 1 else _("{n} GPUs", n=self.devices)


def size_text(memory: int) -> str:
    """Return MiB in a person's words."""
    return f"{memory / 1024:g} GiB" if memory % 512 == 0 else f"{memory} MiB"


def _too_much(asked: str) -> GpuWishError:
    return GpuWishError(_("No machine has as much as was asked for: {asked}.", asked=_short(asked)), _write())


def _write() -> str:
    return _("Write 2 for two GPUs, 0 for none, or 4GiB for a share of one.")


def _short(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
