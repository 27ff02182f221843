"""Reasons that the books keep, in the language of whoever reads them. What a driver said stays as it is."""

from __future__ import annotations

import re

from armillary_kernels.texts import translator

_ = translator(__file__)

_RELEASED = re.compile(r"released by (?P<who>.+)")
_LOST = re.compile(r"GPU (?P<n>[\d, ]+) was lost")


def reason_in_words(reason: str) -> str:
    """Return why a lease ended, a process cannot be suspended, or a GPU is in trouble."""
    if match := _RELEASED.fullmatch(reason):
        return _("released by {who}", who=match["who"])
    if match := _LOST.fullmatch(reason):
        return _("GPU {n} was lost", n=match["n"])
    return _(reason)
