"""The tab that imports: drop or name files, see what they are taken for, correct it, save a version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.dataset import Dataset
from armillary.datasets.import_forms import FORMS, WayForm
from armillary.datasets.import_forms.way_form import LABEL, WIDTH
from armillary.datasets.importing.downloads import fetched, shown
from armillary.datasets.long_work import LongWork, Progress
from armillary.datasets.recognising.addresses import understood
from armillary.datasets.recognising.import_as import WITHOUT_REJECTS, import_as
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.preview import preview
from armillary.datasets.recognising.recognise import ways_of
from armillary.datasets.recognising.samples import BOXED_SIDE
from armillary.datasets.recognising.ways import Way
from armillary.datasets.thumbnails import SIDE, Thumbnails
from armillary.datasets.uploading.uploader import Uploader
from armillary.form import field, form

if TYPE_CHECKING:
    from armillary.datasets.dataset_panel import DatasetsPanel

_ = translator(__file__)


class ImportTab(widgets.VBox):
    """Everything here is a call of `preview` and of `import_as`.

    Parameters
    ----------
    panel
        Shows what went wrong, and what was saved.

    Attributes
    ----------
    preview
        What the files are taken for now, and how they look; None before there are any.
    """

    def __init__(self, panel: DatasetsPanel) -> None:
        self._panel = panel
        self._path: Path | None = None
        self._fetched = ExitStack()
        self._quiet = False
        self.preview: Preview | None = None
        self.uploader = Uploader()
        title, cancelled = _("Save a version"), _("Cancelled. Nothing was saved.")
        self.work = LongWork(title, _("Saving"), cancelled, self._allow, panel.message)
        self.found = widgets.HTML()
        self.thumbnails = Thumbnails()
        self._build_source()
        self._build_form()
        self._running = widgets.HBox((self.work.progress, self.work.cancel), layout={"align_items": "center"})
        super().__init__((self._source, self._form, self._running, self.found, self.thumbnails))
        self.uploader.observe(self._uploaded, "file")
        self._clear()
        self._allow()

    def _build_source(self) -> None:
        example = _("path, https://…, s3://…, database address or Hugging Face name")
        self.path = field(widgets.Text, _("or from here"), label="110px", width="600px", placeholder=example)
        self.look = widgets.Button(description=_("Look at it"))
        self.look.on_click(self._picked)
        pick = widgets.HBox((self.path, self.look), layout={"flex_flow": "row wrap"})
        self._source = form(self.uploader, pick)
        self._source.layout.max_width = "780px"

    def _build_form(self) -> None:
        self.way = field(widgets.Dropdown, _("Recognised as"), label=LABEL, width=WIDTH)
        self.way.observe(self._corrected, "value")
        self.note = widgets.HTML(layout={"margin": "0 0 4px 10px"})
        self.settings = widgets.VBox()
        self.name = field(widgets.Text, _("Name"), label=LABEL, width=WIDTH)
        self.licence = field(widgets.Text, _("Licence"), label=LABEL, width=WIDTH, placeholder="CC-BY-4.0")
        choices = [(_("stop"), "stop"), (_("leave out"), "skip"), (_("set aside"), "set_aside")]
        self.on_error = field(widgets.Dropdown, _("Unusable examples"), label=LABEL, width=WIDTH, options=choices)
        self.shares = {
            split: field(widgets.BoundedIntText, f"{_(split)} %", label="106px", width="215px", value=percent, max=100)
            for split, percent in (("train", 80), ("validation", 10), ("test", 10))
        }
        self.seed = field(widgets.BoundedIntText, _("Seed"), label="106px", width="215px", value=0, max=2**31)
        self.save = self.work.start
        self.save.icon = ""
        self.save.on_click(self._save)
        self._shares = widgets.HBox((*self.shares.values(), self.seed), layout={"flex_flow": "row wrap"})
        self._form = form(
            self.way, self.note, self.settings, self.name, self.licence, self.on_error, self._shares, self.save
        )
        self.forms: dict[str, WayForm] = {}

    def show_dataset(self, dataset: Dataset) -> None:
        """Do nothing: what is imported has nothing to do with what is open."""

    def _allow(self) -> None:
        """Let nothing else be begun while something is fetched or saved."""
        self._running.layout.display = None if self.work.is_busy else "none"
        self.look.disabled = self.work.is_busy
        self.way.disabled = self.work.is_busy or len(self.way.options) == 1
        self.save.disabled = self.work.is_busy or self.preview is None

    def _clear(self) -> None:
        self.preview = None
        self.found.value = ""
        self._form.layout.display = "none"
        self.thumbnails.layout.display = "none"

    # What is to be imported -----------------------------------------------------------------------------------

    def _uploaded(self, change: Any) -> None:
        if change["new"] is not None:
            self._begin(change["new"])

    def _picked(self, _button: Any) -> None:
        if self.path.value.strip():
            self._begin(understood(self.path.value))

    def _begin(self, what: Way | str | Path) -> None:
        """Show what something is taken for, and offer to save it."""
        if self.work.is_busy:
            self._panel.say(_("Wait until that is done, or cancel it."))
            return
        self._clear()
        self._path = None
        self._fetched.close()  # what was fetched before, and is not imported
        if isinstance(what, str):
            address = what
            self.work.begin(lambda progress: self._fetch(address, progress), _("Fetching"))
        elif isinstance(what, Way):
            self._offer((what,), Path(what.settings.get("repository") or "data"))
        else:
            self._panel.guarded(lambda: self._recognise(what, what))

    def _fetch(self, address: str, progress: Progress) -> None:
        path = self._fetched.enter_context(fetched(address, progress))
        self._recognise(path, Path(shown(address)))

    def _recognise(self, path: Path, named: Path) -> None:
        self._panel.say(_("Reading {name} …", name=named.name))
        self._path = path
        self._offer(ways_of(path), named)

    def _offer(self, ways: Sequence[Way], named: Path) -> None:
        """Look at it as it is likeliest meant; where that fails, the other ways can still be chosen."""
        self._quiet = True
        try:
            self.way.options = [(way.title, number) for number, way in enumerate(ways)]
            self.way.value = 0
        finally:
            self._quiet = False
        self.name.value = re.sub(r"[^a-z0-9._-]+", "-", _stem(named).lower()).strip("-._") or "data"
        self._ways = list(ways)
        self._allow()
        self._corrected({"new": 0})
        if self.preview is not None or len(ways) > 1:
            self._form.layout.display = None

    # How it is understood ---------------------------------------------------------------------------------------

    def _corrected(self, change: Any) -> None:
        if not self._quiet and change["new"] is not None:
            self.preview = None
            self.settings.children = ()
            self.found.value = self.note.value = ""
            self.thumbnails.layout.display = "none"
            self._look_again(self._ways[change["new"]])

    def _told(self, way: Way) -> None:
        self._ways[self.way.value] = way
        self._look_again(way)

    def _look_again(self, way: Way) -> None:
        """Show what it looks like when it is understood so; what cannot be looked at cannot be saved."""
        self.save.disabled = True
        self._panel.say("")
        self._panel.guarded(lambda: self._show(preview(self._path or "", way=way)))

    def _show(self, found: Preview) -> None:
        self.preview = found
        self._ways[self.way.value] = found.way
        self.save.disabled = self.work.is_busy
        divided = _("The folders train, validation and test divide them.") if found.divided else ""
        note = " ".join(filter(None, (found.note, divided)))
        self.note.value = balance.styled(f'<p class="arm-data-facts" role="status">{escape(note)}</p>')
        self.note.layout.display = None if note else "none"
        self._shares.layout.display = "none" if found.divided else None
        self.on_error.layout.display = "none" if found.kind in WITHOUT_REJECTS else None
        self._show_settings(found)
        self._draw(found)

    def _show_settings(self, found: Preview) -> None:
        if found.kind in FORMS:
            if found.kind not in self.forms:
                self.forms[found.kind] = FORMS[found.kind](self._told)
            self.forms[found.kind].show(found)
            self.settings.children = self.forms[found.kind].rows
        else:
            self.settings.children = ()

    def _draw(self, found: Preview) -> None:
        names, counts = list(found.class_counts), list(found.class_counts.values())
        parts = [balance.balance(names, {"": counts})] if names else []
        if found.rows is not None:
            parts.append(balance.rows(found.rows, _("The first rows")))
        self.found.value = balance.styled("".join(parts))
        self.thumbnails.layout.display = None if found.samples else "none"
        pictures, captions = [s.png for s in found.samples], [s.class_name for s in found.samples]
        side = BOXED_SIDE if found.kind == "boxes" else SIDE
        self.thumbnails.show(_("Some of the pictures"), pictures, captions, side)

    # Saving -----------------------------------------------------------------------------------------------------

    def _save(self, _button: Any) -> None:
        if self.preview is not None:
            way, name, options = self.preview.way, self.name.value.strip(), self._options(self.preview)
            self.work.begin(lambda progress: self._import(way, name, options, progress))

    def _import(self, way: Way, name: str, options: dict[str, Any], progress: Progress) -> None:
        dataset = import_as(way, self._path, name, progress=progress, **options)
        self._clear()
        self._fetched.close()
        self.uploader.forget()
        self._panel.show_saved(dataset)

    def _options(self, found: Preview) -> dict[str, Any]:
        """Return what the form says, the split only where the folders do not."""
        options: dict[str, Any] = {"seed": self.seed.value, "on_error": self.on_error.value}
        if self.licence.value.strip():
            options["licence"] = self.licence.value.strip()
        if not found.divided:
            options["split"] = {split: share.value / 100 for split, share in self.shares.items()}
        return options


def _stem(path: Path) -> str:
    """Return a file's name without its endings: ``birds`` of ``birds.tar.gz``."""
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz")
    return Path(path.stem).stem if packed else path.name if path.is_dir() else path.stem
