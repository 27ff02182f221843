"""The ways to understand what is to be imported: each is one import, with what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from armillary_kernels.texts import translator

_ = translator(__file__)


@dataclass(frozen=True)
class Way:
    """One way to understand what is to be imported.

    Attributes
    ----------
    kind
        ``"table"``, ``"columns"``, ``"images"``, ``"files"``, ``"boxes"``, ``"translations"``, ``"numpy"``, ``"idx"``,
        ``"huggingface"`` or ``"sql"``.
    settings
        What the import is told, by the names of its arguments.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def told(self, **settings: Any) -> Way:
        """Return this way with other settings."""
        return replace(self, settings={**self.settings, **settings})

    @property
    def title(self) -> str:
        """What a person reads."""
        return _TITLES[self.kind](self.settings)


def _boxes(settings: Mapping[str, Any]) -> str:
    names = {"voc": "Pascal VOC", "coco": "COCO", "yolo": "YOLO"}
    return _("pictures with boxes ({layout})", layout=names[settings["layout"]])


def _files(settings: Mapping[str, Any]) -> str:
    kinds = {"image": _("pictures"), "audio": _("sounds"), "video": _("videos"), "text": _("texts")}
    named = " + ".join(dict.fromkeys(kinds[kind] for kind in settings["kinds"]))
    if settings.get("described"):
        return _("{files}, described in a metadata file", files=named)
    if len(settings["parts"]) > 1:
        return _("{files} of the same name", files=named)
    return _("{files} in class folders", files=named) if settings["label"] == "folder" else named


_TITLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "table": lambda _settings: _("a table"),
    "columns": lambda _settings: _("columns as the file declares them"),
    "images": lambda _settings: _("pictures in class folders"),
    "files": _files,
    "boxes": _boxes,
    "translations": lambda _settings: _("translation pairs"),
    "numpy": lambda _settings: _("arrays (NumPy)"),
    "idx": lambda _settings: _("pictures and classes (IDX)"),
    "huggingface": lambda _settings: _("a Hugging Face dataset"),
    "sql": lambda _settings: _("a database"),
}
