"""Near-duplicates in time that grows with the number of examples, not with its square.

Pictures, sounds and videos are compared by a thumbnail of 16 × 16 values: a perceptual hash of it (the signs of its low
frequencies, 64 bits) sorts similar ones next to each other, and the thumbnails decide. Texts are compared by MinHash
signatures (Broder, 1997) of their pieces of five characters, so that languages without spaces work too.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

SIDE = 16
#: Each is compared with so many that come next in each of the sorted orders.
_NEXT = 8
_MOST_BITS = 8
_SAME_THUMBNAIL = 0.99
PERMUTATIONS = 64
_ROWS_PER_BAND = 4
_SAME_TEXT = 0.7
_PIECE = 5
_random = np.random.default_rng(20_240_501)
_MULTIPLY = _random.integers(1, 2**63, PERMUTATIONS, np.uint64) * np.uint64(2) + np.uint64(1)
_ADD = _random.integers(0, 2**63, PERMUTATIONS, np.uint64)
_POWERS = np.cumprod(np.full(_PIECE, 0x9E3779B97F4A7C15, np.uint64))


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return 64 bits for each thumbnail ``(n, 16, 16)``; similar ones have most of them in common."""
    from scipy.fft import dctn

    low = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
    low[:, 0] = 0  # the mean: brightness and loudness do not matter
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def near_by_hash(hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of ``rows`` ``(m, 2)`` whose hashes differ in few bits."""
    found = []
    for turned in range(0, 64, 8):
        order = np.argsort(_rotated(hashes, turned), kind="stable")
        for step in range(1, min(_NEXT + 1, len(rows))):
            one, other = order[:-step], order[step:]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= _MOST_BITS
            found.append(np.column_stack([one[near], other[near]]))
    return _distinct(found, rows)


def _rotated(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    if not bits:
        return hashes
    return (hashes << np.uint64(bits)) | (hashes >> np.uint64(64 - bits))


def same_thumbnails(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell of each pair of thumbnails ``(m, 16, 16)`` whether they correlate so well that they show the same."""
    a, b = _standardised(one), _standardised(other)
    return (a * b).mean(axis=1) >= _SAME_THUMBNAIL


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = thumbnails.reshape(-1, SIDE * SIDE).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    spread = values.std(axis=1, keepdims=True)
    return np.where(spread > 2, values / np.maximum(spread, 2), 0)  # nothing can be said of what is nearly flat


def plain_text(text: str) -> str:
    """Return a text without case, punctuation and spacing, by which near-duplicates often differ.

    One of nothing else stays as it is.
    """
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip() or text


def min_hash(text: str) -> NDArray[np.uint32]:
    """Return a signature ``(64,)``: the share of equal values estimates how many pieces two texts have in common."""
    points = np.frombuffer(f" {text} ".ljust(_PIECE).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, _PIECE)
    pieces = np.unique((windows * _POWERS).sum(axis=1, dtype=np.uint64))
    pieces ^= pieces >> np.uint64(29)
    signature = np.full(PERMUTATIONS, 2**32 - 1, np.uint64)
    for start in range(0, len(pieces), 4096):  # a long text takes no more memory than a short one
        hashed = pieces[None, start : start + 4096] * _MULTIPLY[:, None] + _ADD[:, None]
        np.minimum(signature, (hashed >> np.uint64(32)).min(axis=1), out=signature)
    return signature.astype(np.uint32)


def near_by_signature(signatures: NDArray[np.uint32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of ``rows`` ``(m, 2)`` whose signatures have a whole band of values in common."""
    found = []
    for first in range(0, PERMUTATIONS, _ROWS_PER_BAND):
        band = np.ascontiguousarray(signatures[:, first : first + _ROWS_PER_BAND]).view(np.uint64)
        order = np.lexsort((band[:, 0], band[:, 1]))
        ordered = band[order]
        for step in range(1, min(_NEXT + 1, len(rows))):
            same = (ordered[:-step] == ordered[step:]).all(axis=1)
            found.append(np.column_stack([order[:-step][same], order[step:][same]]))
    return _distinct(found, rows)


def same_signatures(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell of each pair of signatures ``(m, 64)`` whether their texts have most pieces in common."""
    return (one == other).mean(axis=1) >= _SAME_TEXT


def _distinct(pairs: list[NDArray[np.int64]], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if not pairs:
        return np.empty((0, 2), np.int64)
    together = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    return rows[together]
