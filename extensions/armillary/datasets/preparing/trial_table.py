"""Examples before and after a recipe, as a table that eyes and screen readers can read."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from armillary_kernels.texts import translator

from armillary.datasets.media import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Medium
from armillary.datasets.preparing.rows import Drawn, Sound
from armillary.datasets.preparing.trying import Trial
from armillary.datasets.recognising.samples import thumbnail

_ = translator(__file__)

_LONGEST_TEXT, _LONGEST_LIST = 200, 12
_CELL = 'style="padding:4px 10px;vertical-align:top;text-align:left"'
#: Small pictures are enlarged, with their pixels as they are.
_PICTURE = 'style="display:block;margin:0;min-width:64px;min-height:64px;object-fit:contain;image-rendering:pixelated"'


def trial_table(trials: Sequence[Trial]) -> str:
    """Return the table: a row for each example and column that changes."""
    rows = "".join(_rows(trial) for trial in trials)
    heads = "".join(f'<th scope="col" {_CELL}>{escape(text)}</th>' for text in _heads())
    title = escape(_("Examples before and after"))
    caption = f'<caption style="text-align:left;font-weight:600;padding:4px 10px">{title}</caption>'
    table = f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div style="overflow-x:auto" tabindex="0" role="group">{table}</div>'


def _heads() -> tuple[str, ...]:
    return _("Example"), _("Column"), _("Before"), _("After")


def _rows(trial: Trial) -> str:
    name = f'<th scope="row" {_CELL}>{trial.row + 1:,}</th>'
    if trial.after is None:
        reason = trial.reason or _("left out by a filter")
        before = ", ".join(_shown(value) for value in list(trial.before.values())[:3])
        return f"<tr>{name}<td></td><td {_CELL}>{before}</td><td {_CELL}>{escape(reason)}</td></tr>"
    changed = [column for column in dict.fromkeys([*trial.before, *trial.after]) if _differs(trial, column)]
    return "".join(
        f"<tr>{name}<td {_CELL}>{escape(column)}</td>{_cell(trial.before, column)}{_cell(trial.after, column)}</tr>"
        for column in changed or list(trial.before)[:1]
    )


def _differs(trial: Trial, column: str) -> bool:
    before, after = trial.before.get(column), (trial.after or {}).get(column)
    return _shown(before) != _shown(after) or isinstance(after, (Drawn, Sound))


def _cell(values: Mapping[str, Any], column: str) -> str:
    return f"<td {_CELL}>{_shown(values[column]) if column in values else ''}</td>"


def _shown(value: Any) -> str:
    """Return a value as HTML: pictures small, texts and lists cut, sounds by their length."""
    if value is None:
        return f"<em>{escape(_('missing'))}</em>"
    if isinstance(value, (Sound, Medium, Drawn)):
        return _medium(value)
    if isinstance(value, np.ndarray):
        return escape(_("array {shape}", shape=" × ".join(map(str, value.shape))))
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], (Drawn, Medium)):
            return "".join(map(_shown, value[:_LONGEST_LIST]))
        listed = ", ".join(map(_shown, value[:_LONGEST_LIST]))
        return f"{listed}, … ({len(value):,})" if len(value) > _LONGEST_LIST else listed
    if isinstance(value, dict):
        return "<br>".join(f"{escape(str(name))}: {_shown(part)}" for name, part in value.items())
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…")


def _medium(value: Any) -> str:
    suffix = f".{value.path.rpartition('.')[2].lower()}"
    if isinstance(value, Sound) or suffix in AUDIO_SUFFIXES:
        samples, rate = value.sound()
        return escape(_("sound of {seconds:.2f} s at {rate:,} Hz", seconds=len(samples) / rate, rate=rate))
    if isinstance(value, Medium) and suffix in VIDEO_SUFFIXES:
        return escape(_("video {name}", name=value.path))
    width, height = value.image().size
    size = f"{width} × {height}"
    data = base64.b64encode(thumbnail(value.read())).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(size)}" {_PICTURE}><small>{escape(size)}</small>'
