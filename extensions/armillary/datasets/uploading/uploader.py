"""The field to drop files and folders on: they come as comm messages, in acknowledged pieces.

Why messages of the kernel and not HTTP: they arrive where the kernel is, which may be another machine than the
server's; they need no part in the server, so that JupyterLab, Notebook and Voilà do without one; they are as safe as
the person's kernel itself; JupyterLab delivers them while a cell runs. HTTP to the server would need all of that anew,
and the network is slower than either.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from armillary_kernels import gate_passes
from armillary_kernels.texts import translator

from armillary.datasets.importing import table_files
from armillary.datasets.importing.archive_check import MAX_UNPACKED_BYTES, too_large
from armillary.datasets.importing.sources import TAR_SUFFIXES
from armillary.datasets.importing.text_pairs import CODES
from armillary.datasets.media import SUFFIXES as MEDIA_SUFFIXES
from armillary.datasets.uploading.parts import (
    Announced,
    MissingPieceError,
    Upload,
    forget,
    plain_name,
    remove_old_uploads,
)
from armillary.errors import DatasetError
from armillary.esm import together

_ = translator(__file__)

_STATIC = Path(__file__).parent / "static"
_PACKED = (".gz", ".bz2", ".xz")
_TABLES = tuple(sorted(table_files.SUFFIXES - {".txt"}))
#: Files that may be given one by one.
SUFFIXES = (
    *(".zip", *TAR_SUFFIXES, *_TABLES, *(f"{table}{packed}" for table in (".csv", ".json") for packed in _PACKED)),
    *(".po", ".tmx", ".npz", ".sqlite", ".sqlite3", ".db"),
)
_IDX = tuple(f"{end}{packed}" for end in ("-ubyte", ".idx1", ".idx3") for packed in ("", ".gz"))
#: Files of a folder that are worth sending: media, texts, tables, and what describes them.
MEMBERS = tuple(
    sorted({*(end for ends in MEDIA_SUFFIXES.values() for end in ends), *_TABLES, *_IDX}
           | {".txt", ".md", ".xml", ".yaml", ".yml", ".names", ".po", ".tmx"} | {f".{code}" for code in CODES})
)  # fmt: skip
#: A page that has been silent for so long, seconds, is taken to be gone.
_SILENT = 15.0


def _texts() -> dict[str, str]:
    return {
        "drop": _("Drop files or a folder here, or"),
        "choose": _("Choose a file"),
        "folder": _("Choose a folder"),
        "hint": _(
            "Class folders; pictures with boxes (Pascal VOC, COCO, YOLO); sounds or videos with their texts; "
            "translations (.po, TMX, news.en + news.zh); tables (CSV, JSON, Parquet, Arrow); also as a zip or tar"
        ),
        "progress": _("Upload of {name}"),
        "listing": _("Looking through {name}: {n} files"),
        "checking": _("A part of {name} is here already; comparing it: {percent} %"),
        "sending": _("Uploading {name}: {done} of {total}, {speed}/s, {left} left"),
        "waiting": _("{name}: {done} of {total}. The connection is gone or the kernel busy; it goes on by itself."),
        "done": _("{name} is here ({total})."),
        "left_out": _("Files of other kinds that were left out: {n}, such as {name}."),
        "cancel": _("Cancel"),
        "cancelled": _("The upload was cancelled."),
        "busy": _("{name} is still on its way. Wait for it or cancel it."),
        "none": _("There is no file in it that can be imported."),
        "twice": _("Two of the files are both named {name}. Rename one."),
        "changed": _("{name} cannot be read any more: it was changed, moved or removed. Give it again."),
        "seconds": _("{n} s"),
        "minutes": _("{n} min"),
    }


class Uploader(anywidget.AnyWidget):
    """A field to drop files on. ``file`` is the path of the whole file once it has arrived.

    A folder, or several files, arrive as one tar, which the browser makes while it sends. The browser sends the next
    piece only when the kernel has written one, so neither holds more than a few pieces in memory. After a lost
    connection it asks where it was and goes on; after a reload the person gives the same file again.
    """

    _esm = together(_STATIC / "packing.js", _STATIC / "uploader.js")
    _css = (_STATIC / "uploader.css").read_text(encoding="utf-8")

    texts = traitlets.Dict().tag(sync=True)
    suffixes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    members = traitlets.List(traitlets.Unicode()).tag(sync=True)
    file = traitlets.Instance(Path, allow_none=True, default_value=None)

    def __init__(self, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        super().__init__(texts=_texts(), suffixes=list(suffixes), members=list(MEMBERS))
        remove_old_uploads()
        self._upload: Upload | None = None
        self._part: dict[str, int] = {}
        self._id = ""
        self._round = 0
        self._heard = 0.0
        self.on_msg(self._receive)
        gate_passes.add(self.comm.comm_id)  # files may arrive while the kernel waits for a GPU

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        steps = {"begin": self._begin, "piece": self._piece, "continue": self._continue, "again": self._again}
        try:
            if content["type"] == "cancel":
                self._cancel(content)
            else:
                steps[content["type"]](content, buffers)
        except DatasetError as error:
            self._refuse(content, f"{error.what} {error.remedy}")
        except OSError as error:
            self._refuse(content, _("The file cannot be stored: {reason}.", reason=error.strerror or error))
        except (LookupError, TypeError, ValueError):
            self._refuse(content, _("The upload broke off. Try again."))

    def _begin(self, content: dict[str, Any], _buffers: list[memoryview]) -> None:
        announced = Announced(
            plain_name(content["name"], self.suffixes), int(content["size"]), int(content["modified"])
        )
        if announced.name.endswith(".tar") and announced.size > MAX_UNPACKED_BYTES:
            raise too_large(announced.name, announced.size, MAX_UNPACKED_BYTES)
        if self._mine(content) is None:  # else the answer was lost, or took long
            self._refuse_second(announced)
            self.file = None
            self._upload, self._id, self._heard = Upload(announced), str(content["id"]), time.monotonic()
            self._part = {"check": self._upload.checksum()} if self._upload.received else {}
        self._round = int(content["round"])
        self._tell("begun", **self._part)

    def _refuse_second(self, announced: Announced) -> None:
        running = self._upload
        if running and running.announced != announced and time.monotonic() - self._heard < _SILENT:
            what = _("{name} is being uploaded in another window.", name=running.announced.name)
            raise DatasetError(what, _("Wait for it, or cancel it there."))

    def _mine(self, content: dict[str, Any]) -> Upload | None:
        if self._upload is None or str(content["id"]) != self._id:
            return None
        self._heard = time.monotonic()
        return self._upload

    def _piece(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        upload = self._mine(content)
        if upload is None or content["round"] != self._round:
            return  # a straggler of an upload that was cancelled, or was sent before the connection broke
        try:
            upload.write(int(content["offset"]), buffers[0])
        except MissingPieceError:
            self._tell("gap")
        else:
            self._answer(upload)

    def _continue(self, content: dict[str, Any], _buffers: list[memoryview]) -> None:
        upload = self._mine(content)
        if upload is None:
            self.send({"type": "unknown", "id": content["id"]})
            return
        self._round = int(content["round"])
        self._answer(upload)

    def _again(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        upload = self._mine(content)
        if upload is not None:
            upload.restart()
            self._continue(content, buffers)

    def _answer(self, upload: Upload) -> None:
        """Say what is there; what is whole becomes ``file``, whose observers come after the browser."""
        if not upload.is_whole:
            self._tell("received")
            return
        path = upload.finish()
        self._tell("done")
        self._upload = None
        self.file = path

    def _tell(self, kind: str, **more: Any) -> None:
        received = self._upload.received if self._upload else 0
        self.send({"type": kind, "id": self._id, "round": self._round, "received": received, **more})
        # See RunView._hear_in_subshell: the next piece must not wait for a cell that runs.
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def _cancel(self, content: dict[str, Any]) -> None:
        upload = self._mine(content)
        if upload is not None:
            upload.cancel()
            self._upload = None

    def _refuse(self, content: dict[str, Any], message: str) -> None:
        if str(content.get("id")) == self._id:
            self._upload = None
        self.send({"type": "refused", "id": content.get("id"), "message": message})

    def forget(self) -> None:
        """Remove the file that arrived, for instance because it has been imported."""
        if self.file is not None:
            forget(self.file)
            self.file = None

    def close(self) -> None:
        """Remove the widget; what has arrived stays for a week."""
        if self.comm is not None:
            gate_passes.discard(self.comm.comm_id)
        super().close()
