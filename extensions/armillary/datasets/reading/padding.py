"""Arrays of several lengths in one: filled up at their ends, with a mask that says what is a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What classes are filled up with: the index that losses of PyTorch (``ignore_index``) and Hugging Face pass over.
IGNORED = -100


def padded(
    items: Sequence[NDArray[Any]], empty: NDArray[Any], ragged: Sequence[int], filler: Any = 0
) -> dict[str, NDArray[Any]]:
    """Return arrays as one, as long as the longest of them.

    Parameters
    ----------
    items
        The arrays of a batch, all with the same number of axes.
    empty
        One without any value: its dtype and number of axes are those of all.
    ragged
        The axes along which their lengths differ.
    filler
        Stands where there is no value.

    Returns
    -------
    dict
        ``values`` ``(batch, *longest)`` and ``mask``, which has the axes ``(batch, *ragged)`` and is True where there
        is a value.
    """
    longest = np.max([item.shape for item in items] or [empty.shape], axis=0).tolist()
    values = np.full((len(items), *longest), filler, empty.dtype)
    mask = np.zeros((len(items), *(longest[axis] for axis in ragged)), bool)
    for index, item in enumerate(items):
        filled = [slice(length) for length in item.shape]
        values[index][tuple(filled)] = item
        mask[index][tuple(filled[axis] for axis in ragged)] = True
    return {"values": values, "mask": mask}
