"""Media for a browser: each in a bounded form, made when it can be seen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.browse import clips
from armillary.datasets.browse.pages import Pages
from armillary.datasets.features import Audio, Feature, Image, Video
from armillary.datasets.media import Medium
from armillary.errors import ArmillaryError

_ = translator(__file__)

#: What a browser may ask for at a time.
MOST = 32
Form = tuple[dict[str, Any], list[bytes]]


def answers(pages: Pages, wanted: Sequence[Sequence[Any]]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return media for a browser, and their bytes.

    Parameters
    ----------
    wanted
        Of each its row, column and form: ``"small"`` for a list, ``"large"`` for itself.

    Returns
    -------
    items, buffers
        Of each its description, with the number of ``buffers`` that are its own, in order.
    """
    asked = [(int(row), str(column), str(form)) for row, column, form in list(wanted)[:MOST]]
    features = pages.dataset.features
    media = [(features[column], _medium(pages, row, column), form) for row, column, form in asked]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        forms = list(pool.map(lambda each: _form(*each), media))
    items = [
        {"row": row, "column": column, "form": form, "buffers": len(buffers), **described}
        for (row, column, form), (described, buffers) in zip(asked, forms, strict=True)
    ]
    return items, [buffer for _described, buffers in forms for buffer in buffers]


def _medium(pages: Pages, row: int, column: str) -> Medium | Exception | None:
    try:
        found = pages.medium(row, column)
    except (ArmillaryError, OSError) as error:
        return error
    return found if isinstance(found, Medium) else None


def _form(feature: Feature, medium: Medium | Exception | None, form: str) -> Form:
    if not isinstance(medium, Medium):
        return {"damaged": str(medium or _("there is none"))}, []
    try:
        return _bounded(feature, medium, form == "large")
    except ArmillaryError as error:
        return {"damaged": f"{error.what} {error.remedy}"}, []
    except Exception as error:  # the decoders of three libraries raise many kinds on damaged files
        return {"damaged": str(error) or type(error).__name__}, []


def _bounded(feature: Feature, medium: Medium, large: bool) -> Form:
    if isinstance(feature, Image):
        picture = clips.small_picture(medium, clips.LARGE if large else clips.SMALL)
        return {"width": picture.width, "height": picture.height}, [picture.data]
    if isinstance(feature, Audio) and large:
        return {"clip_seconds": clips.CLIP_SECONDS}, [clips.short_sound(medium)]
    if isinstance(feature, Audio):
        wave = clips.waveform(medium)
        return {"peaks": wave.peaks, "seconds": wave.seconds, "rate": wave.rate, "channels": wave.channels}, []
    if isinstance(feature, Video):
        shown = clips.frames(medium, clips.FRAMES if large else clips.FEW_FRAMES)
        size = {"width": shown.width, "height": shown.height}
        return {"times": shown.times, "seconds": shown.seconds, **size}, list(shown.frames)
    return {"damaged": _("there is none")}, []
