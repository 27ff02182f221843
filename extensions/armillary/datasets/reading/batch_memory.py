"""Memory for batches that is used again.

A batch of 64 photographs of 224 px takes 38 MB. The system hands out that much page by page, each filled with zeros
when it is first written to, which takes nearly as long as decoding half of the photographs.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from mmap import MAP_PRIVATE, mmap

import numpy as np
from numpy.typing import NDArray

#: What is kept at most: the batches under way, the one in use, and the one that was in use before it.
_KEPT = 4


class BatchMemory:
    """Makes arrays in the memory of earlier ones: of those that are gone, with every view and tensor of them."""

    def __init__(self) -> None:
        self._free: deque[mmap] = deque(maxlen=_KEPT)

    def array(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array whose values may be anything."""
        memory = self._memory(max(1, math.prod(shape)) * np.dtype(np.float32).itemsize)
        # On an mmap, not on an array: views of an array keep alive what lies below it, not the array itself.
        array = np.ndarray(shape, np.float32, memory)
        weakref.finalize(array, _take_back, weakref.ref(self), memory).atexit = False
        return array

    def _memory(self, size: int) -> mmap:
        memory = self._free.pop() if self._free else None
        return memory if memory is not None and len(memory) >= size else mmap(-1, size, flags=MAP_PRIVATE)


def _take_back(owner: weakref.ref[BatchMemory], memory: mmap) -> None:
    lender = owner()
    if lender is not None:
        lender._free.append(memory)
