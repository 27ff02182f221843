"""Which files make one example, and where its class comes from."""

from __future__ import annotations

import re
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets.import_forms.way_form import WayForm
from armillary.datasets.importing.files import kind_of_file
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.recognise import MEDIA, files
from armillary.datasets.recognising.ways import Way

_ = translator(__file__)

_KINDS = (*MEDIA, "text")
_PATTERN = ":pattern"
_EXAMPLE = r"(?P<label>[a-z]+)_[^/]*$"


class FilesForm(WayForm):
    """The ends of the files' names, such as ``image + .txt + _spoken.ogg``, and a choice of where the class is."""

    def build(self) -> tuple[Any, ...]:
        """Make the widgets and return them."""
        self.ends = self.field(widgets.Text, _("Files of an example"), placeholder="image + .txt + _spoken.ogg")
        self.label = self.field(widgets.Dropdown, _("Class from"))
        self.pattern = self.field(widgets.Text, _("Pattern in the path"), value=_EXAMPLE)
        self.pattern.layout.display = "none"
        return (self.ends, self.label, self.pattern)

    def fill(self, found: Preview) -> None:
        """Show what the way is told."""
        told = found.way.settings
        self.ends.value = " + ".join(told["parts"].values())
        columns = [(_("column {name}", name=name), name) for name in found.columns]
        choices = [(_("none"), ""), (_("the folder"), "folder"), *columns, (_("the file's name"), _PATTERN)]
        self.label.options = choices
        known = (told["label"] or "") in (value for _title, value in choices)
        self.label.value = (told["label"] or "") if known else _PATTERN
        if not known:
            self.pattern.value = told["label"]
        self.pattern.layout.display = "none" if known else None

    def told(self, way: Way) -> Way:
        """Return the way as the fields say."""
        label = self.pattern.value if self.label.value == _PATTERN else self.label.value
        return files(parts_of(self.ends.value), label or None, described=way.settings["described"])


def parts_of(text: str) -> dict[str, str]:
    """Return the columns of an example, named by their kinds: ``{"image": "image", "audio": "_spoken.ogg"}``."""
    parts: dict[str, str] = {}
    for end in filter(None, (piece.strip() for piece in re.split(r"[+,，]", text))):
        kind = end if end in _KINDS else kind_of_file(f"x{end}") or "file"
        more = re.sub(r"\W+", "_", end.rpartition(".")[0]).strip("_") or str(len(parts) + 1)
        parts[kind if kind not in parts else f"{kind}_{more}"] = end
    return parts
