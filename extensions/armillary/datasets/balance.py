"""How many examples each class has, as a table of bars that eyes and screen readers can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from armillary_kernels.texts import translator

from armillary.datasets.media import Medium

_ = translator(__file__)

STYLE = (Path(__file__).parent / "static" / "panel.css").read_text(encoding="utf-8")


def styled(body: str) -> str:
    """Return ``body`` with the style that goes with it."""
    return f'<style>{STYLE}</style><div class="arm-data">{body}</div>'


def balance(class_names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """Return the class balance: per class one bar, parted by split, and the numbers.

    Parameters
    ----------
    counts
        Per split, the number of examples of each class. One split named ``""`` stands for undivided examples.
    """
    totals = [sum(per_split) for per_split in zip(*counts.values(), strict=True)]
    largest = max(totals, default=1) or 1
    splits = [split for split in counts if split]
    head = "".join(_head(split, number) for number, split in enumerate(splits))
    lines = []
    for index, name in enumerate(class_names):
        parts = "".join(_part(per_split[index] / largest, number) for number, per_split in enumerate(counts.values()))
        cells = "".join(f"<td>{counts[split][index]:,}</td>" for split in splits)
        bar = f'<td class="arm-data-bar" aria-hidden="true"><div>{parts}</div></td>'
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{bar}<td>{totals[index]:,}</td>{cells}</tr>')
    first = f'<th scope="col">{escape(_("Class"))}</th><td aria-hidden="true"></td>'
    return scrolling(
        _("Class balance"),
        f'<thead><tr>{first}<th scope="col">{escape(_("Examples"))}</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody>",
        "arm-data-balance",
    )


def scrolling(caption: str, table: str, css: str) -> str:
    """Return a table that scrolls by keyboard too."""
    text = escape(caption)
    return (
        f'<div class="arm-data-scroll" role="region" tabindex="0" aria-label="{text}">'
        f'<table class="{css}"><caption>{text}</caption>{table}</table></div>'
    )


def _head(split: str, number: int) -> str:
    key = f'<span class="arm-data-key arm-data-part-{number}" aria-hidden="true"></span>'
    return f'<th scope="col">{key}{escape(_(split))}</th>'


def _part(share: float, number: int) -> str:
    return f'<span class="arm-data-part-{number}" style="width:{100 * share:.2f}%"></span>'


def rows(frame: pd.DataFrame, title: str) -> str:
    """Return the first rows of a table."""
    numbers = [pd.api.types.is_numeric_dtype(frame.iloc[:, place].dtype) for place in range(frame.shape[1])]
    css = ["" if number else ' class="arm-data-words"' for number in numbers]
    head = "".join(
        f'<th scope="col"{kind}>{escape(str(name))}</th>' for name, kind in zip(frame.columns, css, strict=True)
    )
    lines = "".join(f"<tr>{_cells(values, css)}</tr>" for values in frame.itertuples(index=False))
    return scrolling(title, f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>", "arm-data-rows")


def _cells(values: Sequence[object], css: Sequence[str]) -> str:
    return "".join(f"<td{kind}>{escape(_shown(value))}</td>" for value, kind in zip(values, css, strict=True))


def _shown(value: object) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return "–"
    if isinstance(value, Medium):
        return value.path or "…"
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:80]
