"""The features of the sample, put together for one model or one distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armillary.datasets.checking.parts import Part

_COMPONENTS = 400
_WIDTHS = 2.0
_MOST_INDICATORS = 64


def dense_blocks(parts: Sequence[Part], seed: int) -> dict[str, NDArray[np.float32]]:
    """Return by name of its part each block that has columns; texts by their 64 main directions, values as one.

    A row without a value is NaN throughout.
    """
    blocks: dict[str, NDArray[np.float32]] = {}
    values = []
    for part in parts:
        block = part.block()
        if block.shape[1] == 0:
            continue
        if not isinstance(block, np.ndarray):
            blocks[part.name] = main_directions(block, seed)
        elif part.is_content:
            blocks[part.name] = block
        else:
            values.append(block)
    if values:
        blocks[""] = np.nan_to_num(np.column_stack(values))
    return blocks


def main_directions(sparse: Any, seed: int, directions: int = 64) -> NDArray[np.float32]:
    """Return the main directions of a sparse block ``(n, d)``, each row of length 1; NaN where there is nothing."""
    from sklearn.decomposition import TruncatedSVD

    directions = min(directions, sparse.shape[1] - 1, sparse.shape[0] - 1)
    if directions < 1:
        return np.asarray(sparse.todense(), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # where all texts are the same
        reduced = TruncatedSVD(directions, random_state=seed).fit_transform(sparse).astype(np.float32)
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    return np.where(length > 0, reduced / np.maximum(length, 1e-9), np.nan)


def model_features(parts: Sequence[Part], seed: int) -> Any:
    """Return what a linear model learns from ``(n, d)``: of numbers similarities, of texts their words."""
    from scipy.sparse import csr_matrix, hstack

    blocks = [block for part in parts if (block := part.block()).shape[1]]
    sparse = [block for block in blocks if not isinstance(block, np.ndarray)]
    dense = [similarities(_known(block), seed) for block in _grouped(parts)]
    if not sparse:
        return np.column_stack(dense) if dense else np.empty((0, 0))
    return hstack([*sparse, *(csr_matrix(block) for block in dense)]).tocsr()


def _grouped(parts: Sequence[Part]) -> list[NDArray[np.float32]]:
    """Return the dense blocks: each content by itself, all values together."""
    blocks = [(part.is_content, part.block()) for part in parts]
    dense = [(content, block) for content, block in blocks if isinstance(block, np.ndarray) and block.shape[1]]
    values = [block for content, block in dense if not content]
    return [block for content, block in dense if content] + ([np.column_stack(values)] if values else [])


def _known(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a block with the mean of its column in place of each NaN; of a few columns also where these were."""
    unknown = np.isnan(block)
    if not unknown.any():
        return block
    means = np.nansum(block, axis=0) / np.maximum((~unknown).sum(axis=0), 1)
    where = unknown[:, unknown.any(axis=0)].astype(np.float32)
    filled = np.where(unknown, means, block)
    return np.column_stack([filled, where]) if where.shape[1] <= _MOST_INDICATORS else filled


def similarities(block: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return the similarity of each row to 400 of them (Nyström; Williams and Seeger, 2000).

    The width is chosen by the typical distance of two rows.
    """
    from sklearn.kernel_approximation import Nystroem

    random = np.random.default_rng(seed)
    one, other = (block[random.integers(0, len(block), 1000)] for _turn in range(2))
    apart = ((one - other) ** 2).sum(axis=1)
    typical = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    nystroem = Nystroem(gamma=_WIDTHS / 2 / typical, n_components=min(_COMPONENTS, len(block)), random_state=seed)
    return nystroem.fit_transform(block).astype(np.float32)
