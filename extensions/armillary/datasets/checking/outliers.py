"""Examples that are far from all others: the distance to their neighbours against that of the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from armillary_kernels.texts import translator
from numpy.typing import NDArray

from armillary.datasets.checking.findings import Finding, removal

_ = translator(__file__)

NEIGHBOURS = 10
FEWEST = 30
_FAR = 2.3
_MANY = 0.05
_MOST_DIRECTIONS = 64
#: Of the typical distance; where many are copies of each other, smaller ones say nothing.
_SMALLEST = 0.05
_NINTH_DECILE = 1.2816  # of the standard normal distribution


def outliers(block: NDArray[np.float32], rows: NDArray[np.int64], column: str, seed: int) -> Iterator[Finding]:
    """Yield the rows of a block ``(n, d)`` that are far from their neighbours, the farthest first."""
    known = ~np.isnan(block).any(axis=1)
    if known.sum() < FEWEST:
        return
    far = _strangeness(block[known], seed)
    if (far >= _FAR).sum() > max(3, _MANY * len(far)):
        return  # there is no crowd that they would be outside of
    places = np.flatnonzero(known)
    for index in np.argsort(-far, kind="stable"):
        if far[index] < _FAR:
            return
        row = int(rows[places[index]])
        yield Finding(
            "outlier",
            (row,),
            float(1 - _FAR / 2 / far[index]),
            _in_words(column),
            _("Remove it if it does not belong here."),
            removal([row]),
            column or None,
        )


def _in_words(column: str) -> str:
    if not column:
        return _("No other row has values like these together.")
    return _("{column} is unlike all others.", column=column)


def _strangeness(block: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Return how far the log of the distance to the neighbours is above the middle, in standard deviations.

    These are of the half above, by its ninth decile: most data have a long tail below, which says nothing here.
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    if block.shape[1] > _MOST_DIRECTIONS:
        block = PCA(_MOST_DIRECTIONS if len(block) > _MOST_DIRECTIONS else None, random_state=seed).fit_transform(block)
    neighbours = min(NEIGHBOURS, len(block) - 1)
    distances, _places = NearestNeighbors(n_neighbors=neighbours).fit(block).kneighbors()
    # Copies of an example must not hide that it is far from the rest: the farther half of its neighbours counts.
    away = distances[:, neighbours // 2 :].mean(axis=1)
    away = np.log(np.maximum(away, _SMALLEST * float(np.sqrt(block.var(axis=0).sum()))) + 1e-9)
    middle = np.median(away)
    spread = (float(np.quantile(away, 0.9)) - middle) / _NINTH_DECILE
    return (away - middle) / max(spread, 0.05)
