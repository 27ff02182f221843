"""Who may read a dataset: its owner alone, groups, or everyone.

A version is private until it is shared. Sharing puts it, its files linked rather than copied where possible, into the
owner's folder within the folder of a group; that the group's members can read it and nobody but the owner can change it
is a matter of the file system (`armillary_hub.accounts.shared_folders`). Where all people work as one account (solo),
it is only a label.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from armillary_kernels.texts import translator

from armillary.datasets import durable_files, shards
from armillary.datasets.card import FILE as CARD
from armillary.datasets.card import read_card, write_card
from armillary.datasets.dataset import Dataset, DatasetInfo, info_of, open_dataset
from armillary.datasets.manifest import FILE_NAME
from armillary.datasets.names import one_or_several
from armillary.datasets.saving import explained, renamed, staging
from armillary.datasets.shared_places import Shelf, person, shared_folder, shelves
from armillary.datasets.store import names, versions, versions_seen
from armillary.errors import DatasetError

_ = translator(__file__)

EVERYONE = "everyone"
NOBODY = "nobody"
_GROUP = "group:"


@dataclass(frozen=True)
class Access:
    """Who may read a version, besides its owner.

    Attributes
    ----------
    groups
        Groups of the hub; ``"everyone"`` is everybody who can sign in, none is nobody.
    enforced
        Whether the file system sees to it; where all people are one account, it does not.
    """

    reference: str
    groups: tuple[str, ...]
    enforced: bool

    def __str__(self) -> str:
        who = ", ".join(_("everyone") if group == EVERYONE else group for group in self.groups) or _(
            "nobody but its owner"
        )
        told = _("{reference} can be read by: {who}.", reference=self.reference, who=who)
        if self.enforced:
            return told
        return told + " " + _("All people of this deployment are one account: this is a label, not a protection.")


@dataclass(frozen=True)
class SharedInfo:
    """A line of the list of shared datasets: whose it is, with whom it is shared, and its newest version."""

    owner: str
    groups: tuple[str, ...]
    info: DatasetInfo

    @property
    def reference(self) -> str:
        """What `datasets.open` takes, such as ``"ann/digits@1"``."""
        return f"{self.owner}/{self.info.reference}"


def share(data: Dataset | str, with_: str | Sequence[str]) -> Access:
    """Say who may read a version of one's own, besides oneself; who could before and is not named no longer can.

    Parameters
    ----------
    data
        A version, such as ``"digits@1"``; the newest for a bare name. Other versions stay as they are.
    with_
        ``"group:vision"`` (or several such in a list), ``"everyone"``, or ``"nobody"``.

    Returns
    -------
    Access
        What holds now. Printed, it says whether that is enforced: in solo mode everybody is one account.

    Raises
    ------
    DatasetError
        When it is another person's, one does not belong to the group, or it cannot be written.

    Examples
    --------
    >>> print(datasets.share("digits@1", with_="everyone"))
    digits@1 can be read by: everyone.
    """
    dataset = open_dataset(data)
    if dataset.owner is not None:
        what = _("{reference} belongs to {owner}.", reference=dataset.reference, owner=dataset.owner)
        raise DatasetError(what, _("Only the owner can share it."))
    chosen = _chosen(with_)
    for group in chosen:
        _publish(dataset, _own_shelf(group))
    for shelf in _own_shelves():
        if shelf.group not in chosen:
            _withdraw(shelf.folder / dataset.name / str(dataset.version))
    return access(dataset)


def access(data: Dataset | str) -> Access:
    """Return who may read a version, besides its owner."""
    dataset = open_dataset(data)
    groups = readers(dataset.owner or person(), dataset.name, dataset.version)
    enforced = all(_is_guarded(shelf) for shelf in _own_shelves())
    return Access(dataset.reference, groups, enforced)


def readers(owner: str, name: str, version: int) -> tuple[str, ...]:
    """Return the groups that a person shares a version with, by name."""
    return tuple(sorted(shelf.group for shelf in shelves() if shelf.owner == owner and _has(shelf, name, version)))


def own_groups() -> tuple[str, ...]:
    """Return the groups that one can share with, ``"everyone"`` first; none outside a deployment."""
    return tuple(sorted((shelf.group for shelf in _own_shelves()), key=lambda group: (group != EVERYONE, group)))


def list_shared() -> list[SharedInfo]:
    """Return the datasets that others share with one's groups, and those that one shares, by owner and name."""
    found: dict[tuple[str, str], list[Shelf]] = {}
    for shelf in shelves():
        with suppress(OSError):  # whose folder may not be read
            for name in names(shelf.folder):
                found.setdefault((shelf.owner, name), []).append(shelf)
    lines = (_line(owner, name, holders) for (owner, name), holders in sorted(found.items()))
    return [line for line in lines if line is not None]


def _line(owner: str, name: str, holders: Sequence[Shelf]) -> SharedInfo | None:
    newest = max(holders, key=lambda shelf: versions_seen(shelf.folder, name)[-1:])
    info = info_of(newest.folder, name)
    if info is None:
        return None
    known = tuple(sorted({number for shelf in holders for number in versions_seen(shelf.folder, name)}))
    return SharedInfo(owner, tuple(sorted(shelf.group for shelf in holders)), replace(info, versions=known))


def _chosen(with_: str | Sequence[str]) -> list[str]:
    wanted = one_or_several(with_)
    if wanted == [NOBODY]:
        return []
    known = [who == EVERYONE or (who.startswith(_GROUP) and who != _GROUP) for who in wanted]
    if not wanted or not all(known):
        what = _("{who} is nobody whom a dataset can be shared with.", who=repr(with_))
        raise DatasetError(what, _('Write "group:NAME", "everyone" or "nobody".'))
    return [who.removeprefix(_GROUP) for who in dict.fromkeys(wanted)]


def _own_shelves() -> Iterator[Shelf]:
    return (shelf for shelf in shelves() if shelf.owner == person())


def _own_shelf(group: str) -> Shelf:
    if shared_folder() is None:
        what = _("There is no place for shared datasets here.")
        raise DatasetError(what, _("Share it from a notebook of a deployment's hub."))
    own = list(_own_shelves())
    found = next((shelf for shelf in own if shelf.group == group), None)
    if found is None:
        listed = ", ".join(sorted(shelf.group for shelf in own)) or _("none")
        what = _("You do not belong to the group {group!r}; your groups: {listed}.", group=group, listed=listed)
        raise DatasetError(what, _("Who has just joined a group stops the server and starts it again."))
    return found


def _has(shelf: Shelf, name: str, version: int) -> bool:
    return version in versions_seen(shelf.folder, name)


def _is_guarded(shelf: Shelf) -> bool:
    """Return whether the folder of the group belongs to somebody else than who works here."""
    return shelf.folder.parent.stat().st_uid != os.geteuid()


def _publish(dataset: Dataset, shelf: Shelf) -> None:
    destination = shelf.folder / dataset.name / str(dataset.version)
    text = (dataset.folder / FILE_NAME).read_text(encoding="utf-8")
    there = (destination / FILE_NAME).exists()
    if there and (destination / FILE_NAME).read_text(encoding="utf-8") != text:
        what = _("Another dataset was shared as {reference}.", reference=dataset.reference)
        raise DatasetError(what, _("Save this one under another name."))
    with explained(dataset.name, shelf.folder):
        if not there:
            _put_there(dataset, text, shelf, destination)
        if dataset.card != read_card(destination.parent):
            write_card(destination.parent, dataset.card)


def _put_there(dataset: Dataset, text: str, shelf: Shelf, destination: Path) -> None:
    manifest = dataset.manifest
    beside = [file for file in (manifest.split_file, manifest.skipped_file) if file is not None]
    with staging(shelf.folder, dataset.name) as folder:
        shards.link_files(folder, dataset.folder, [*manifest.shards, *manifest.media, *beside])
        durable_files.write_text(folder / FILE_NAME, text)
        _open_to_the_group(shelf.folder, folder, destination.parent)
        if not renamed(folder, destination):
            raise FileExistsError(f"{destination} is there already")


def _open_to_the_group(shelf: Path, folder: Path, of_name: Path) -> None:
    """Let the group in whatever the umask; the folders keep the group that they were made for."""
    of_name.mkdir(exist_ok=True)
    for inner in (of_name, folder, *(path for path in folder.rglob("*") if path.is_dir())):
        os.chown(inner, -1, shelf.stat().st_gid)
        inner.chmod(0o2750)


def _withdraw(folder: Path) -> None:
    """Remove a shared version: first its manifest, so that it is gone at once, then the rest."""
    if folder.is_dir():
        (folder / FILE_NAME).unlink(missing_ok=True)
        shutil.rmtree(folder)
        labelled = (folder.parent / ".labelling").exists()  # what people have answered there is kept
        if not labelled and not versions(folder.parent.parent, folder.parent.name):
            (folder.parent / CARD).unlink(missing_ok=True)
            with suppress(OSError):  # another version is just coming
                folder.parent.rmdir()
