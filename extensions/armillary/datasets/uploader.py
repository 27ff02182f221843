"""Upload of files of any size from a browser to the kernel, in acknowledged pieces."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import anywidget
import traitlets
from armillary_kernels.texts import translator

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"
_FREE_AFTERWARDS = 64 * 2**20


def _texts() -> dict[str, str]:
    return {
        "drop": _("Drop a file here, or"),
        "choose": _("Choose a file"),
        "hint": _("A zip of pictures in class folders, a CSV or a Parquet file"),
        "progress": _("Upload of {name}"),
        "sending": _("Uploading {name}: {done} of {total}"),
        "done": _("{name} is here ({total})."),
        "cancel": _("Cancel"),
        "cancelled": _("The upload was cancelled."),
        "one": _("Give one file at a time; put pictures into a zip."),
    }


class Uploader(anywidget.AnyWidget):
    """A field to drop a file on. ``file`` is the path of the whole file once it has arrived.

    The file lies in a temporary folder that goes with this object. The browser sends the next piece only when the
    kernel has written one, so neither holds more than a few pieces in memory.
    """

    _esm = _STATIC / "uploader.js"
    _css = _STATIC / "uploader.css"

    texts = traitlets.Dict().tag(sync=True)
    suffixes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    file = traitlets.Instance(Path, allow_none=True, default_value=None)

    def __init__(self, suffixes: tuple[str, ...] = (".zip", ".csv", ".tsv", ".parquet", ".pq")) -> None:
        super().__init__(texts=_texts(), suffixes=list(suffixes))
        self._folder = tempfile.TemporaryDirectory(prefix="armillary-upload-", ignore_cleanup_errors=True)
        self._part: BinaryIO | None = None
        self._upload: dict[str, Any] = {}
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        steps = {"begin": self._begin, "piece": self._piece, "cancel": self._cancel}
        try:
            steps[content["type"]](content, buffers)
        except OSError as error:
            self._refuse(content, _("The file cannot be stored: {reason}.", reason=error.strerror or error))
        except (KeyError, TypeError, ValueError):
            self._refuse(content, _("The upload broke off. Try again."))

    def _begin(self, content: dict[str, Any], _buffers: list[memoryview]) -> None:
        self._drop_part()
        name = PurePosixPath(str(content["name"]).replace("\\", "/")).name
        size = int(content["size"])
        free = shutil.disk_usage(self._folder.name).free - _FREE_AFTERWARDS
        if not name or Path(name).suffix.lower() not in self.suffixes:
            self._refuse(content, _("{name} is none of {kinds}.", name=name, kinds=", ".join(self.suffixes)))
            return
        if size > free:
            needed = _("The file has {size} MB, but {free} MB are free.", size=size >> 20, free=max(0, free >> 20))
            self._refuse(content, needed)
            return
        self.file = None
        self._upload = {"id": content["id"], "name": name, "size": size, "received": 0}
        self._part = (Path(self._folder.name) / "part").open("wb")
        self._acknowledge()

    def _piece(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        if self._part is None or content["id"] != self._upload["id"]:
            return  # a straggler of an upload that was cancelled
        if content["offset"] != self._upload["received"]:
            raise ValueError("a piece is missing")
        self._part.write(buffers[0])
        self._upload["received"] += len(buffers[0])
        self._acknowledge()

    def _acknowledge(self) -> None:
        upload = self._upload
        if upload["received"] >= upload["size"] and self._part is not None:
            self._part.close()
            self._part = None
            whole = Path(self._folder.name) / upload["name"]
            (Path(self._folder.name) / "part").replace(whole)
            self.send({"type": "received", "id": upload["id"], "received": upload["received"]})
            self.file = whole
            return
        self.send({"type": "received", "id": upload["id"], "received": upload["received"]})

    def _cancel(self, _content: dict[str, Any], _buffers: list[memoryview]) -> None:
        self._drop_part()

    def _refuse(self, content: dict[str, Any], message: str) -> None:
        self._drop_part()
        self.send({"type": "refused", "id": content.get("id"), "message": message})

    def _drop_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None
        (Path(self._folder.name) / "part").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the widget and what was uploaded."""
        self._drop_part()
        self._folder.cleanup()
        super().close()
