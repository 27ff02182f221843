"""Batches of both frameworks, compared."""

from __future__ import annotations

from typing import Any

import numpy as np


def alike(of_torch: Any, of_tf: Any) -> None:
    """Compare a batch, or a part of one, in both frameworks; pictures differ in where their channels are."""
    if isinstance(of_torch, dict):
        assert list(of_torch) == list(of_tf)
        for name, part in of_torch.items():
            alike(part, of_tf[name])
        return
    if isinstance(of_torch, tuple):
        for part, part_tf in zip(of_torch, of_tf, strict=True):
            alike(part, part_tf)
        return
    tf = of_tf.numpy()
    if isinstance(of_torch, list):
        assert np.array(of_torch, object).tolist() == np.vectorize(bytes.decode, otypes=[object])(tf).tolist()
    elif tf.ndim > 3 and tf.shape[-1] in (1, 3):
        np.testing.assert_array_equal(np.moveaxis(of_torch.numpy(), -3, -1), tf)
    else:
        np.testing.assert_array_equal(of_torch.numpy(), tf)


def length(part: Any) -> int:
    """Return how many examples a batch, or a part of one, has."""
    while isinstance(part, (dict, tuple)):
        part = next(iter(part.values())) if isinstance(part, dict) else part[0]
    return len(part)
