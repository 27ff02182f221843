"""The page of an app that classifies pictures: choose, drop or photograph one; see the top classes.

The browser makes large pictures smaller before it sends them; nothing is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from armillary_kernels.texts import translator

from armillary.inference.app_page import AppPage, UnusableInputError
from armillary.inputs.pictures import BadPictureError

_ = translator(__file__)

#: Bytes that a picture may have when it arrives here.
LARGEST_PICTURE = 8 * 2**20


class ImagePage(AppPage):
    """The widget of the page; a message's one buffer is the picture's file."""

    input_file = "image_input.js"

    @staticmethod
    def input_texts(language: str) -> dict[str, str]:
        """Return the texts about pictures."""
        return {
            "choose": _("Choose a picture", language=language),
            "photo": _("Take a photo", language=language),
            "drop": _("or drop it here, or paste it", language=language),
            "working": _("Looking at the picture…", language=language),
            "your_picture": _("Your picture: {file}", language=language),
            "not_an_image": _("“{file}” is not a picture that can be read. Try a PNG or JPEG file.", language=language),
            "too_large": _("“{file}” is too large. Choose a picture of at most 50 MB.", language=language),
            "privacy": _("The picture is used for this answer only and is not kept.", language=language),
        }

    def raw_examples(self, _content: dict[str, Any], buffers: list[memoryview]) -> npt.NDArray[np.uint8]:
        """Return the picture as ``(1, height, width, channels)``."""
        if not buffers or buffers[0].nbytes > LARGEST_PICTURE:
            raise UnusableInputError("not_an_image")
        try:
            return self._input.picture_array(bytes(buffers[0]))[None]
        except BadPictureError as error:
            raise UnusableInputError("not_an_image") from error
