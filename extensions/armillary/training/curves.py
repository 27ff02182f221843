"""Loss and accuracy curves as SVG, drawn in plain Python so that they need neither a kernel nor a script to stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 34
#: More points than pixels only make the page heavy.
MOST_POINTS = 300

Point = tuple[float, float]


def plot(
    title: str,
    training: Sequence[Point],
    validation: Sequence[Point],
    *,
    epochs: int,
    names: tuple[str, str],
    axis: str,
    share: bool,
) -> str:
    """Return a figure with the training curve and the validation points.

    Parameters
    ----------
    title
        What is drawn.
    training, validation
        ``(epoch, value)``, in order.
    epochs
        Where the horizontal axis ends.
    names
        Of the two curves.
    axis
        Name of the horizontal axis.
    share
        Whether values are parts of one, shown as per cent.
    """
    values = [value for _, value in (*training, *validation) if math.isfinite(value)]
    low, high, step = value_range(values, share)
    scale = Scale(max(epochs, 1), low, high)
    text = (lambda value: f"{value:.0%}") if share else (lambda value: f"{value:g}")
    grid = "".join(scale.horizontal(tick, text(tick)) for tick in ticks(low, high, step))
    grid += "".join(scale.vertical(epoch) for epoch in epoch_ticks(epochs))
    curves = scale.line(thinned(training), "arm-train-training") + scale.line(validation, "arm-train-validation")
    points = "".join(scale.point(*point) for point in validation)
    label = escape(_described(title, training, validation, names, share), quote=True)
    x_name = f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 2}" text-anchor="middle">{escape(axis)}</text>'
    return (
        f"<figure><figcaption>{escape(title)} {_legend(names)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{grid}{curves}{points}{x_name}</svg>'
        "</figure>"
    )


def _described(
    title: str, training: Sequence[Point], validation: Sequence[Point], names: tuple[str, str], share: bool
) -> str:
    """Return the picture in words: the newest value of each curve."""
    newest = [
        f"{name} {_value(points[-1][1], share)}"
        for name, points in zip(names, (training, validation), strict=True)
        if points
    ]
    return f"{title}: {', '.join(newest)}" if newest else title


def _value(value: float, share: bool) -> str:
    return f"{value:.1%}" if share else f"{value:.4g}"


def _legend(names: tuple[str, str]) -> str:
    entries = zip(names, ("arm-train-training", "arm-train-validation"), strict=True)
    return "".join(
        '<svg class="arm-train-key" viewBox="0 0 26 10" aria-hidden="true">'
        f'<path class="{kind}" d="M0 5H26"/></svg> <span class="arm-train-name">{escape(name)}</span>'
        for name, kind in entries
    )


class Scale:
    """Turns epochs and values into places in the picture.

    Parameters
    ----------
    epochs
        Right end of the horizontal axis.
    low, high
        Ends of the vertical axis.
    """

    def __init__(self, epochs: float, low: float, high: float) -> None:
        self.epochs, self.low, self.high = epochs, low, high

    def x(self, epoch: float) -> float:
        """Return the horizontal place of an epoch."""
        return round(LEFT + epoch / self.epochs * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the vertical place of a value; what lies outside is drawn at the edge."""
        part = (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low)
        return round(TOP + (1 - part) * (HEIGHT - TOP - BOTTOM), 1)

    def horizontal(self, value: float, text: str) -> str:
        """Return a grid line with its number."""
        y = self.y(value)
        return (
            f'<path class="arm-train-grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(text)}</text>'
        )

    def vertical(self, epoch: int) -> str:
        """Return an epoch's number below the axis."""
        return f'<text x="{self.x(epoch)}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{epoch}</text>'

    def line(self, points: Sequence[Point], kind: str) -> str:
        """Return a curve."""
        places = [f"{self.x(epoch)} {self.y(value)}" for epoch, value in points if math.isfinite(value)]
        return f'<path class="{kind}" d="M{"L".join(places)}"/>' if len(places) > 1 else ""

    def point(self, epoch: float, value: float) -> str:
        """Return a dot."""
        return f'<circle class="arm-train-point" cx="{self.x(epoch)}" cy="{self.y(value)}" r="3.5"/>'


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return at most `MOST_POINTS` points, each the mean of its neighbours."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return list(points)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def value_range(values: Sequence[float], share: bool) -> tuple[float, float, float]:
    """Return the ends of the vertical axis and the distance of its grid lines."""
    if share:
        low = math.floor(min(values, default=0.0) * 10) / 10
        low = 0.0 if low < 0.5 else low
        return (low, 1.0, 0.2 if low == 0 else 0.1 if low < 0.8 else 0.05)
    # A single wild step must not flatten the rest: the top follows all but the highest few.
    ordered = sorted(values)
    top = max(ordered[int(len(ordered) * 0.98)] if ordered else 1.0, 1e-6)
    step = nice_step(top / 4)
    return 0.0, step * math.ceil(top / step), step


def nice_step(rough: float) -> float:
    """Return the next of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def ticks(low: float, high: float, step: float) -> list[float]:
    """Return the values of the grid lines."""
    return [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]


def epoch_ticks(epochs: int) -> list[int]:
    """Return at most about ten epochs to write below the axis."""
    step = max(1, math.ceil(epochs / 10))
    return list(range(0, epochs + 1, step))
