"""The panel for datasets: choose one above; each tab does one thing with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.datasets import balance
from armillary.datasets.check_tab import CheckTab
from armillary.datasets.dataset import Dataset, list_datasets, open_dataset
from armillary.datasets.import_tab import ImportTab
from armillary.datasets.label_tab import LabelTab
from armillary.datasets.look_tab import LookTab
from armillary.datasets.message_line import MessageLine
from armillary.datasets.prepare_tab import PrepareTab
from armillary.datasets.shared_bar import SharedBar
from armillary.datasets.shared_places import person
from armillary.datasets.sharing import list_shared
from armillary.datasets.tabs import Tabs
from armillary.datasets.versions_tab import VersionsTab
from armillary.form import field, form

_ = translator(__file__)

_NEW = ""


class PanelTab(Protocol):
    """A widget that does something with the dataset that is open."""

    layout: Any

    def show_dataset(self, dataset: Dataset) -> None:
        """Show a version. Called when the tab comes to the front, and again when another version is opened."""


#: The tabs in order: name, title, and what makes the tab of its panel (whose `DatasetsPanel.show_dataset` opens what a
#: tab has saved). A new tab is one line here.
_TABS: tuple[tuple[str, Callable[[], str], Callable[[DatasetsPanel], Any]], ...] = (
    ("import", lambda: _("Import"), lambda panel: ImportTab(panel)),
    ("look", lambda: _("Look"), lambda _panel: LookTab()),
    ("check", lambda: _("Check"), lambda panel: CheckTab(panel)),
    ("label", lambda: _("Label"), lambda panel: LabelTab(panel)),
    ("prepare", lambda: _("Prepare"), lambda panel: PrepareTab(panel)),
    ("versions", lambda: _("Versions"), lambda panel: VersionsTab(panel)),
)


class DatasetsPanel(widgets.VBox):
    """Everything here is a call of a plain function of `armillary.datasets`.

    Attributes
    ----------
    dataset
        The version that is open, or None.
    tabs
        The tabs by name.
    """

    def __init__(self, dataset: Dataset | str | None = None) -> None:
        self.dataset: Dataset | None = None
        self._shown: dict[str, str] = {}
        self._quiet = False
        self.chooser = field(widgets.Dropdown, _("Dataset"), label="80px", width="380px")
        self.version = field(widgets.Dropdown, _("Version"), label="80px", width="200px")
        self.shared = SharedBar(self)
        self.message = MessageLine()
        self.nothing = widgets.HTML(balance.styled(f"<p>{escape(_('Open a dataset above, or import one.'))}</p>"))
        self.tabs: dict[str, Any] = {name: make(self) for name, _title, make in _TABS}
        self.selector = Tabs([title() for _name, title, _make in _TABS], list(self.tabs.values()))
        top = widgets.HBox((self.chooser, self.version), layout={"flex_flow": "row wrap"})
        super().__init__((form(top), self.shared, self.selector, self.message, self.nothing, *self.tabs.values()))
        self._list("")
        self._observe()
        self._show()
        if dataset is not None:
            self.show_dataset(open_dataset(dataset))

    def _observe(self) -> None:
        self.chooser.observe(self._chosen, "value")
        self.version.observe(self._version_chosen, "value")
        self.selector.observe(self._selected, "selected")

    def show_dataset(self, dataset: Dataset, tab: str = "look") -> None:
        """Open a version, which may be new, in a tab."""
        self.dataset = dataset
        self._list(_key(dataset))
        self.select(tab)

    def show_saved(self, dataset: Dataset) -> None:
        """Look at a version that a tab has saved, and say so."""
        self.show_dataset(dataset)
        self.say_saved(dataset)

    def say_saved(self, dataset: Dataset) -> None:
        """Say that a version is saved."""
        self.say(_("{reference} is saved.", reference=dataset.reference), kind="done")

    def list_again(self) -> None:
        """Offer what others, or another tab, have saved."""
        self._list(_key(self.dataset) if self.dataset is not None else _NEW)

    def select(self, name: str) -> None:
        """Bring a tab to the front."""
        self.selector.selected = list(self.tabs).index(name)
        self._show()

    def _list(self, name: str) -> None:
        """Offer the datasets there are; ``name`` is the one that is open."""
        own = {info.name: info for info in list_datasets()}
        others = {f"{line.owner}/{line.info.name}": line for line in list_shared() if line.owner != person()}
        self._infos = {**own, **{key: line.info for key, line in others.items()}}
        entries = [(f"{key} ({info.examples:,})", key) for key, info in self._infos.items()]
        with self._unobserved():
            self.chooser.options = [(_("a new one"), _NEW), *entries]
            self.chooser.value = name if name in self._infos else _NEW
            self._list_versions()

    def _list_versions(self) -> None:
        known = self._infos.get(self.chooser.value)
        self.version.layout.display = None if known else "none"
        self.version.options = list(reversed(known.versions)) if known else []
        if known and self.dataset is not None and _key(self.dataset) == self.chooser.value:
            self.version.value = self.dataset.version

    @contextmanager
    def _unobserved(self) -> Iterator[None]:
        """Change the choosers without opening anything."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _chosen(self, _change: Any = None) -> None:
        if self._quiet:
            return
        self.say("")
        if self.chooser.value == _NEW:
            self.dataset = None
            with self._unobserved():
                self._list_versions()
            self.select("import")
            return
        self._open(self.chooser.value)

    def _version_chosen(self, _change: Any = None) -> None:
        if not self._quiet and self.chooser.value and self.version.value:
            self._open(f"{self.chooser.value}@{self.version.value}")

    def _open(self, reference: str) -> None:
        def opened() -> None:
            self.dataset = open_dataset(reference)
            with self._unobserved():
                self._list_versions()
            if self.selector.selected == 0:
                self.select("look")
            else:
                self._show()

        self.guarded(opened)

    def _selected(self, _change: Any) -> None:
        self.say("")  # it was about what another tab did
        self._show()

    def _show(self) -> None:
        """Let the tab in front show what is open; the others do when they come to the front."""
        name, tab = list(self.tabs.items())[self.selector.selected]
        dataset = self.dataset
        self.guarded(lambda: self.shared.show_dataset(dataset))
        lacks_one = dataset is None and name != "import"
        self.nothing.layout.display = None if lacks_one else "none"
        if dataset is not None and self._shown.get(name) != dataset.reference:
            self._shown[name] = dataset.reference
            self.guarded(lambda: tab.show_dataset(dataset))
        tab.layout.display = "none" if lacks_one else None

    def guarded(self, action: Callable[[], None]) -> None:
        """Do it, or say in words why not."""
        self.message.guarded(action)

    def say(self, what: str, remedy: str = "", kind: str = "note") -> None:
        """Say something below the tabs, as `MessageLine.say` does."""
        self.message.say(what, remedy, kind)


def _key(dataset: Dataset) -> str:
    """Return what a dataset is chosen by: its name, of another's with the owner, such as ``"ann/digits"``."""
    return dataset.reference.rpartition("@")[0]
