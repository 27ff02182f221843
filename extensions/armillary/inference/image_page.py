"""The page of an app that classifies pictures: choose, drop or photograph one; see the top classes.

The browser makes large pictures smaller before it sends them; nothing is kept.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from armillary_kernels.texts import translator

from armillary.errors import InferenceError
from armillary.inference.page import own_endpoint, own_release
from armillary.inputs.input_spec import InputSpec
from armillary.inputs.pictures import BadPictureError, decode

_ = translator(__file__)
_STATIC = Path(__file__).parent / "static"

#: Classes shown.
TOP = 5

#: Bytes that a picture may have when it arrives here.
LARGEST_PICTURE = 8 * 2**20


def page_texts(language: str) -> dict[str, str]:
    """Return the texts of the page."""
    return {
        "choose": _("Choose a picture", language=language),
        "photo": _("Take a photo", language=language),
        "drop": _("or drop it here, or paste it", language=language),
        "working": _("Looking at the picture…", language=language),
        "result": _("Result", language=language),
        "most_likely": _("Most likely: {name}, {percent} percent.", language=language),
        "your_picture": _("Your picture: {file}", language=language),
        "not_an_image": _("“{file}” is not a picture that can be read. Try a PNG or JPEG file.", language=language),
        "too_large": _("“{file}” is too large. Choose a picture of at most 50 MB.", language=language),
        "failed": _("The model could not answer. Try again in a moment.", language=language),
        "disconnected": _("No answer came. Check the connection and try again.", language=language),
        "privacy": _("The picture is used for this answer only and is not kept.", language=language),
    }


class ImagePage(anywidget.AnyWidget):
    """The widget of the page."""

    _esm = _STATIC / "image_page.js"
    _css = _STATIC / "page.css"

    texts = traitlets.Dict().tag(sync=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(texts={language: page_texts(language) for language in ("en", "zh")}, **options)
        self._release = own_release()
        self._input = InputSpec.from_json(self._release.input)
        self.on_msg(self._answer)

    def _answer(self, _widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer one picture: ``{"id": …}`` with the file's bytes as its buffer."""
        if not isinstance(content, dict) or not buffers:
            return
        answer: dict[str, Any] = {"id": content.get("id")}
        try:
            answer["classes"] = self.classify(bytes(buffers[0]))
        except BadPictureError:
            answer["error"] = "not_an_image"
        except InferenceError:
            logging.getLogger("armillary.app").exception("The endpoint did not answer")
            answer["error"] = "failed"
        self.send(answer)

    def classify(self, picture: bytes) -> list[dict[str, Any]]:
        """Return the most likely classes of an encoded picture, best first, with their probabilities.

        Raises
        ------
        BadPictureError
            When it cannot be read.
        InferenceError
            When the endpoint does not answer.
        """
        if len(picture) > LARGEST_PICTURE:
            raise BadPictureError(f"it has {len(picture)} bytes")
        raw = self._input.image_array(decode(picture))
        x = self._input.prepare(raw[None], self._release.layout)
        probabilities = own_endpoint().predict(x)[0]
        best = np.argsort(-probabilities, kind="stable")[:TOP]
        names = self._release.class_names
        return [{"name": names[i], "probability": float(probabilities[i])} for i in best]
