"""The examples that findings are about, as HTML that needs no kernel: thumbnails, waveforms, excerpts, values."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.findings import Finding
from armillary.datasets.dataset import Dataset
from armillary.datasets.features import Audio, Boxes, ClassLabel, Feature, Image, Video
from armillary.datasets.media import Medium
from armillary.datasets.recognising.samples import thumbnail
from armillary.inputs.pictures import encode_array

_ = translator(__file__)

#: So many examples of one finding are shown, and so much of each.
MOST_ROWS = 4
_EXCERPT, _MOST_VALUES, _PLAYED_BYTES, _BARS = 240, 8, 400_000, 60
_AUDIO_TYPES = {b"RIFF": "audio/wav", b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"ID3\x03": "audio/mpeg"}


class Showing:
    """Examples of a dataset by row, read once and together.

    Parameters
    ----------
    findings
        Those whose examples will be shown.
    """

    def __init__(self, dataset: Dataset, findings: Iterable[Finding]) -> None:
        self._dataset = dataset
        rows = sorted({row for finding in findings for row in finding.rows[:MOST_ROWS]})
        self._examples = dict(zip(rows, dataset.take(rows), strict=True)) if rows else {}
        self._splits = dataset.split_of_rows() if rows else []

    def card(self, finding: Finding) -> str:
        """Return the examples of a finding and what is said of it."""
        rows = () if finding.kind == "missing" and not finding.suggestions else finding.rows
        shown = "".join(self._example(row, finding) for row in rows[:MOST_ROWS])
        more = len(finding.rows) - MOST_ROWS
        rest = f"<p>{escape(_('and {n} more', n=f'{more:,}'))}</p>" if rows and more > 0 else ""
        examples = f'<div class="arm-check-examples">{shown}</div>{rest}' if shown else ""
        advice = f'<p class="arm-check-advice">{escape(finding.advice)}</p>' if finding.advice else ""
        return f"{examples}<p>{escape(finding.explanation)}</p>{advice}"

    def _example(self, row: int, finding: Finding) -> str:
        example = self._examples[row]
        where = _("row {row}, {split}", row=row, split=_(self._splits[row]))
        target = self._dataset.target
        name = "" if target is None else f"<strong>{escape(str(example[target]))}</strong> "
        parts = "".join(self._parts(row, example, finding))
        return f"<figure>{parts}<figcaption>{name}<span>{escape(where)}</span></figcaption></figure>"

    def _parts(self, row: int, example: dict[str, Any], finding: Finding) -> Iterator[str]:
        values = []
        for name, feature in _sorted_by_interest(self._dataset, finding):
            value = example[name]
            if isinstance(feature, (Image, Audio, Video)):
                yield _medium(feature, value, _("{column} of row {row}", column=name, row=row))
            else:
                values.append((name, value, feature))
        if len(values) == 1:
            yield f"<blockquote>{escape(shortened(values[0][1]))}</blockquote>"
        elif values:
            items = "".join(
                f"<div><dt>{escape(name)}</dt><dd>{escape(shortened(value))}</dd></div>"
                for name, value, _feature in values[:_MOST_VALUES]
            )
            yield f"<dl>{items}</dl>"


def _sorted_by_interest(dataset: Dataset, finding: Finding) -> list[tuple[str, Feature]]:
    """Return the columns to show, that which the finding is about first."""
    about = (finding.column or "").split(".")[0]
    shown = [
        (name, feature)
        for name, feature in dataset.features.items()
        if name != dataset.target and not isinstance(feature, Boxes)
    ]
    return sorted(shown, key=lambda column: (column[0] != about, isinstance(column[1], ClassLabel)))


def shortened(value: Any) -> str:
    """Return a value in a line."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, dict):
        return " · ".join(f"{name}: {shortened(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(shortened(part) for part in value[:20])[:_EXCERPT]
    if isinstance(value, Medium):
        return value.path
    text = str(value)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + " …"


def _medium(feature: Feature, value: Medium | None, alt: str) -> str:
    """Return a picture, a player with a waveform, or a video's first picture; a box where it cannot be decoded."""
    if value is None:
        return f'<span class="arm-check-none">{escape(_("nothing"))}</span>'
    try:
        if isinstance(feature, Image):
            return _picture(thumbnail(value.read()), alt)
        if isinstance(feature, Video):
            return _picture(_first_frame(value), alt)
        return _sound(value, alt)
    except Exception:  # a broken medium is what is being shown; decoders raise many kinds
        return f'<span class="arm-check-none">⚠ {escape(_("damaged"))}</span>'


def _picture(png: bytes, alt: str) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alt)}">'


def _first_frame(value: Medium) -> bytes:
    frame = next(value.some_frames(1))
    return thumbnail(encode_array(frame))


def _sound(value: Medium, alt: str) -> str:
    peaks = waveform(value)
    height = 40
    bars = "".join(
        f'<rect x="{4 * index}" y="{(1 - peak) * height / 2:.1f}" width="3" height="{max(1.0, peak * height):.1f}"/>'
        for index, peak in enumerate(peaks)
    )
    drawing = (
        f'<svg class="arm-check-wave" viewBox="0 0 {4 * _BARS} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(_("Waveform: {what}", what=alt))}">{bars}</svg>'
    )
    data = value.data
    if data is None or len(data) > _PLAYED_BYTES:
        return drawing
    kind = _AUDIO_TYPES.get(data[:4], "audio/mpeg")
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return f'{drawing}<audio controls preload="none" aria-label="{escape(alt)}" src="{source}"></audio>'


def waveform(value: Medium, bars: int = _BARS) -> list[float]:
    """Return the peak of each of equal parts of a sound, from 0 to 1."""
    peaks = np.concatenate([_peaks(block) for block, _rate in value.sound_blocks()] or [np.zeros(1, np.float32)])
    at = np.linspace(0, len(peaks), bars + 1).astype(int)
    return [float(min(1.0, peaks[min(a, len(peaks) - 1) : max(a + 1, b)].max())) for a, b in pairwise(at)]


def _peaks(block: NDArray[np.float32], step: int = 256) -> NDArray[np.float32]:
    loudest = np.abs(block).max(axis=1, initial=0)
    return np.maximum.reduceat(loudest, np.arange(0, max(1, len(loudest)), step)) if len(loudest) else loudest
