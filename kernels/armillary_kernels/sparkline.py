"""A small chart of a GPU's last hour, as SVG: a line for its utilisation over an area for its memory.

The two differ in form and not only in colour; a screen reader hears the label instead. The page gives the colours by
its own style: ``.gpu-line``, ``.gpu-area`` and ``.gpu-frame``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

#: Units of the drawing: it is stretched to the place it has.
_WIDTH, _HEIGHT = 120, 32


def sparkline(line: Sequence[float | None], area: Sequence[float | None], label: str) -> str:
    """Return the chart.

    Parameters
    ----------
    line, area
        Values from 0 to 1, oldest first, the last one now; None where nothing is known.
    label
        What it shows, in words.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    areas = "".join(f'<path class="gpu-area" d="{_filled(part)}"/>' for part in _parts(area))
    lines = "".join(
        f'<polyline class="gpu-line" vector-effect="non-scaling-stroke" points="{_points(part)}"/>'
        for part in _parts(line)
    )
    return (
        f'<svg class="gpu-chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">'
        f'<rect class="gpu-frame" width="{_WIDTH}" height="{_HEIGHT}"/>{areas}{lines}</svg>'
    )


def _parts(values: Sequence[float | None]) -> Iterator[list[tuple[float, float]]]:
    """Yield the points of each stretch without gaps;  each value lasts until the next."""
    step = _WIDTH / max(1, len(values))
    part: list[tuple[float, float]] = []
    for place, value in enumerate([*values, None]):
        if value is not None:
            height = _HEIGHT * (1 - min(1.0, max(0.0, value)))
            part.append((place * step, height))
        elif part:
            yield [*part, (place * step, part[-1][1])]
            part = []


def _points(part: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in part)


def _filled(part: Sequence[tuple[float, float]]) -> str:
    corners = [(part[0][0], _HEIGHT), *part, (part[-1][0], _HEIGHT)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"
