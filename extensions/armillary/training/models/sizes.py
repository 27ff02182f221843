"""Sizes that the PyTorch and the Keras twins of the ready models share."""

from __future__ import annotations

import math

CONVOLUTION_CHANNELS = (16, 32, 64, 128, 128)
#: Width of an image's convolutions: 5 generalises better than 3 from a few thousand small pictures.
IMAGE_KERNEL = 5
#: Groups of group normalisation (Wu and He, 2018), which knows no batch and so is the same on any number of ranks.
NORM_GROUPS = 4
HIDDEN = 128
RECURRENT_UNITS = 128
TOKEN_WIDTH = 64
HEADS = 4
ENCODER_LAYERS = 2

#: An image becomes at most this many patches along its longer side.
PATCHES_PER_SIDE = 8


def convolution_channels(smaller_side: int) -> tuple[int, ...]:
    """Return the channels of each block; each halves the picture, down to about 7 pixels."""
    return CONVOLUTION_CHANNELS[: math.floor(math.log2(max(2, smaller_side / 3.5)))]


def patch_size(height: int, width: int) -> int:
    """Return the side of a square patch, in pixels."""
    return max(1, math.ceil(max(height, width) / PATCHES_PER_SIDE))
