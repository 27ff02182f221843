"""``%armillary gpu``: which GPUs a kernel has, and choosing others."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from IPython.core.error import UsageError

from armillary_kernels.errors import ArmillaryError
from armillary_kernels.gate import Gate
from armillary_kernels.texts import translator
from armillary_kernels.wishes import GpuWish, GpuWishError

_ = translator(__file__)

NAME = "%armillary"


class MagicError(ArmillaryError):
    """What stands behind ``%armillary`` is not understood."""


def own_lines(code: str) -> tuple[list[str], str]:
    """Return what the ``%armillary`` lines at a cell's beginning say, and the cell with these lines as comments."""
    mine, rest = [], code.split("\n")
    for number, line in enumerate(rest):
        words = line.split(maxsplit=1)
        if words[:1] == [NAME]:
            mine.append(" ".join(words[1:]).strip())
            rest[number] = f"# {line.strip()}"  # the numbers of the lines below stay
        elif words and not words[0].startswith("#"):
            return mine, "\n".join(rest)
    return mine, "" if mine else code


def without_hub(_line: str) -> NoReturn:
    """Refuse a line where no hub lends GPUs."""
    what = _("There is no hub here that lends GPUs, so `%armillary` has nothing to choose.")
    raise UsageError(f"{what} {_('Leave the line out: the kernel sees the GPUs of this machine.')}")


class GpuMagic:
    """What the lines do.

    Parameters
    ----------
    gate
        The kernel's gate.
    user
        Whose kernel it is.
    """

    def __init__(self, gate: Gate, user: str) -> None:
        self._gate, self._user = gate, user
        self._said = ""

    async def run(self, line: str) -> bool:
        """Do what a line says; return whether GPUs must now be waited for.

        Raises
        ------
        MagicError, LeaseError
            If it is not understood, or the pool refuses; nothing has changed then.
        """
        words = line.split()
        if words[:1] != ["gpu"]:
            what = _("There is no `%armillary {line}`.", line=line) if line else _("`%armillary` alone does nothing.")
            raise MagicError(what, _usage())
        self._said = ""
        if words[1:]:
            return await self._choose(" ".join(words[1:]))
        await asyncio.wrap_future(self._gate.look())
        return False

    def answer(self) -> str:
        """Return what the last line has to say."""
        from armillary_kernels.descriptions import state_text  # no cell but this one needs it

        return self._said or state_text(self._gate.lease.standing, self._gate.lease.wish, self._user)

    def misplaced(self, line: str) -> NoReturn:
        """Refuse a line that does not stand at a cell's beginning."""
        raise UsageError(_("Put `%armillary {line}` at the beginning of a cell.", line=line))

    async def _choose(self, text: str) -> bool:
        try:
            wish = GpuWish.parse(text)
        except GpuWishError as error:
            raise MagicError(error.what, error.remedy) from None
        if wish == self._gate.lease.wish and (self._gate.lease.id or not wish.devices):
            return False
        if self._gate.lease.has_used_cuda():
            await asyncio.wrap_future(self._gate.choose_for_restart(wish))
            self._said = _(
                "This kernel uses its GPU already. Restart it (Kernel, Restart Kernel) to have {wish}.", wish=wish
            )
            return False
        await asyncio.wrap_future(self._gate.choose(wish))
        return bool(wish.devices)


def _usage() -> str:
    return _(
        "Write `%armillary gpu` to see this kernel's GPUs, `%armillary gpu 2`, `%armillary gpu 0` or "
        "`%armillary gpu 4GiB` to choose others."
    )
