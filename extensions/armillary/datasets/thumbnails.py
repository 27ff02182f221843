"""Some pictures with their classes, in one widget."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets
from armillary_kernels.texts import translator

_ = translator(__file__)

#: How large a picture is shown, pixels.
SIDE = 76
_STATIC = Path(__file__).parent / "static"


class Thumbnails(anywidget.AnyWidget):
    """Shows ``images`` (PNG or JPEG bytes) with ``captions``.

    Arrow keys, Home and End move between pictures. A picture without bytes is shown as damaged.
    """

    _esm = _STATIC / "thumbnails.js"
    _css = _STATIC / "thumbnails.css"

    texts = traitlets.Dict().tag(sync=True)
    images = traitlets.List(traitlets.Bytes()).tag(sync=True)
    captions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    side = traitlets.Int(SIDE).tag(sync=True)

    def __init__(self) -> None:
        super().__init__(texts={"damaged": _("damaged")})

    def show(self, title: str, images: list[bytes], captions: list[str], side: int = SIDE) -> None:
        """Show all of them at once, ``side`` pixels wide and high."""
        with self.hold_sync():
            self.title, self.images, self.captions, self.side = title, images, captions, side
