"""What became of a dataset: what changed between versions, what was made from what, and the end of a version."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets import shards
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.features import Feature
from armillary.datasets.manifest import FILE_NAME, read_manifest
from armillary.datasets.places import Place
from armillary.datasets.saving import DISK_FULL
from armillary.datasets.shared_places import person, shelves
from armillary.datasets.sharing import readers
from armillary.datasets.store import DELETED, find, names, parse_reference, place_of_own, versions_seen
from armillary.errors import DatasetError

_ = translator(__file__)


@dataclass(frozen=True)
class Difference:
    """How the second of two versions differs from the first.

    Attributes
    ----------
    added, removed
        Row numbers of examples that only the second, or only the first version has.
    relabelled
        Rows of the first and the second version of examples that have another class now: ``(old row, new row)``.
    moved
        Rows ``(old row, new row)`` of examples that belong to another split now.
    features
        Columns that differ, each with its old and new feature, None where there is none.
    """

    old: str
    new: str
    added: tuple[int, ...]
    removed: tuple[int, ...]
    relabelled: tuple[tuple[int, int], ...]
    moved: tuple[tuple[int, int], ...]
    features: Mapping[str, tuple[Feature | None, Feature | None]]

    def __str__(self) -> str:
        counts = _(
            "{old} → {new}: {added:,} added, {removed:,} removed, {relabelled:,} relabelled, {moved:,} in other splits",
            old=self.old,
            new=self.new,
            added=len(self.added),
            removed=len(self.removed),
            relabelled=len(self.relabelled),
            moved=len(self.moved),
        )
        columns = ", ".join(self.features)
        return counts + (_("; other columns: {columns}", columns=columns) if columns else "")


def diff(old: Dataset | str, new: Dataset | str) -> Difference:
    """Return how ``new`` differs from ``old``; examples are known by their content, not by their place.

    Content is what stands in the columns that both have.

    Examples
    --------
    >>> print(datasets.diff("birds@3", "birds@4"))
    birds@3 → birds@4: 12 added, 0 removed, 3 relabelled, 0 in other splits
    """
    first, second = open_dataset(old), open_dataset(new)
    shared = sorted(first.features.keys() & second.features.keys())
    # Without any, all examples differ; those of no columns would all be the same.
    before, after = _rows(first, shared or sorted(first.features)), _rows(second, shared or sorted(second.features))
    same = _matched(before, after, lambda row: (row.content, row.split))
    moved = _matched(*same.left, lambda row: row.content)
    removed, added = moved.left
    relabelled = _Matches([], moved.left)
    if first.target is not None and first.target == second.target and removed and added:
        relabelled = _relabelled(first, second, [name for name in shared if name != first.target], moved)
        removed, added = relabelled.left
    other_split = [pair for pair in relabelled.pairs if pair[0].split != pair[1].split]
    return Difference(
        first.reference,
        second.reference,
        tuple(row.number for row in added),
        tuple(row.number for row in removed),
        tuple((old.number, new.number) for old, new in relabelled.pairs),
        tuple((old.number, new.number) for old, new in [*moved.pairs, *other_split]),
        _changed_features(first.features, second.features),
    )


@dataclass(frozen=True)
class _Row:
    """A row by its number, the hash of its content, and its split."""

    number: int
    content: bytes
    split: str


@dataclass(frozen=True)
class _Matches:
    """Rows of two versions that are the same, and those left of both."""

    pairs: list[tuple[_Row, _Row]]
    left: tuple[list[_Row], list[_Row]]


def _relabelled(first: Dataset, second: Dataset, columns: list[str], found: _Matches) -> _Matches:
    """Match the rows that are left by everything but their class."""
    before, after = _rows(first, columns), _rows(second, columns)
    left = [before[row.number] for row in found.left[0]], [after[row.number] for row in found.left[1]]
    return _matched(*left, lambda row: row.content)


def _rows(dataset: Dataset, columns: list[str]) -> list[_Row]:
    hashes = _row_hashes(dataset, columns)
    return [_Row(number, *both) for number, both in enumerate(zip(hashes, dataset.split_of_rows(), strict=True))]


def _row_hashes(dataset: Dataset, columns: list[str]) -> Iterator[bytes]:
    for group in shards.row_groups(dataset.folder, dataset.manifest.shards, columns):
        for row in group.to_pylist():
            yield hashlib.blake2b(repr([_named(dataset, name, row[name]) for name in columns]).encode()).digest()


def _named(dataset: Dataset, name: str, value: Any) -> Any:
    """Return a value that says the same in every version: the name of a class, not its index; no path of a file."""
    names_of = getattr(dataset.features[name], "names", None)
    if isinstance(value, int) and names_of and value >= 0:
        return name, names_of[value]
    if isinstance(value, dict) and value.keys() == {"bytes", "path"} and value["bytes"] is not None:
        return name, hashlib.blake2b(value["bytes"]).hexdigest()
    return name, value


def _matched(old: list[_Row], new: list[_Row], key: Callable[[_Row], object]) -> _Matches:
    """Pair rows with the same key, in order."""
    waiting: dict[object, deque[_Row]] = defaultdict(deque)
    for row in old:
        waiting[key(row)].append(row)
    pairs = [(waiting[key(row)].popleft(), row) if waiting[key(row)] else (None, row) for row in new]
    removed = sorted((row for rows in waiting.values() for row in rows), key=lambda row: row.number)
    matched = [(before, after) for before, after in pairs if before is not None]
    return _Matches(matched, (removed, [after for before, after in pairs if before is None]))


def _changed_features(
    old: Mapping[str, Feature], new: Mapping[str, Feature]
) -> dict[str, tuple[Feature | None, Feature | None]]:
    columns = dict.fromkeys([*old, *new])
    return {name: (old.get(name), new.get(name)) for name in columns if old.get(name) != new.get(name)}


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from and what was made from it, as edges from parent to child.

    Attributes
    ----------
    source
        Where the data of the oldest known ancestor came from.
    """

    reference: str
    source: str
    edges: tuple[tuple[str, str], ...]

    @property
    def ancestors(self) -> tuple[str, ...]:
        """The parent, its parent and so on."""
        parents = {child: parent for parent, child in self.edges}
        found: list[str] = []
        while (parent := parents.get(found[-1] if found else self.reference)) and parent not in found:
            found.append(parent)
        return tuple(found)

    @property
    def descendants(self) -> tuple[str, ...]:
        """What was made from it, and from that."""
        found = [self.reference]
        for reference in found:
            found += [child for parent, child in self.edges if parent == reference and child not in found]
        return tuple(found[1:])


def lineage(data: Dataset | str) -> Lineage:
    """Return the ancestors and descendants of a version, over all names of the store.

    Of one that somebody shares: over what that person shares and all names of one's own store.
    """
    dataset = open_dataset(data)
    edges = tuple(dict.fromkeys(_edges_around(dataset)))
    whole = Lineage(_own(dataset.reference), dataset.manifest.source, edges)
    related = {whole.reference, *whole.ancestors, *whole.descendants}
    return Lineage(whole.reference, whole.source, tuple(edge for edge in edges if related.issuperset(edge)))


def _edges_around(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for parent, child in _edges(dataset.store):
        yield _own(parent), child
    for shelf in shelves() if dataset.owner is not None else ():
        if shelf.owner == dataset.owner:
            for edge in _edges(shelf.folder):
                parent, child = (one if "/" in one else f"{shelf.owner}/{one}" for one in edge)
                yield _own(parent), _own(child)


def _edges(store: Place) -> Iterator[tuple[str, str]]:
    for name in names(store):
        for number in versions_seen(store, name):
            with contextlib.suppress(DatasetError):  # a damaged one; opening it says so
                parent = read_manifest(store / name / str(number)).parent
                if parent is not None:
                    yield parent, f"{name}@{number}"


def delete(reference: Dataset | str) -> None:
    """Delete a version, also a damaged one, for good; its number is never used again.

    Parameters
    ----------
    reference
        To the version, such as ``"birds@3"``, or the opened version.

    Raises
    ------
    DatasetError
        When no version is named, there is no such version, it is shared, something refers to it (a version made from
        it, a training run, a labelling project, or changes that are not saved), or its files cannot be removed.
    """
    store, reference = place_of_own(reference)
    name, number = parse_reference(reference)
    if number is None:
        raise DatasetError(
            _("{reference!r} names no version.", reference=reference), _("Delete versions one by one, such as birds@3.")
        )
    reference = f"{name}@{number}"
    folder = find(store, reference)
    groups = readers(person(), name, number)
    if groups:
        raise DatasetError(
            _("{reference} is shared with {readers}.", reference=reference, readers=", ".join(groups)),
            _("Withdraw it first: {call}.", call=f'datasets.share("{reference}", "nobody")'),
        )
    users = _users(store, reference)
    if users:
        listed = ", ".join(users[:10]) + (", …" if len(users) > 10 else "")
        raise DatasetError(
            _("{reference} cannot be deleted: {users} refer to it.", reference=reference, users=listed),
            _("Delete these first; save or discard unsaved changes."),
        )
    try:
        _remove(folder)
    except OSError as error:
        what = _("{reference} cannot be deleted: {reason}.", reference=reference, reason=error.strerror or error)
        raise DatasetError(what, _("See what is wrong with {folder} and try again.", folder=folder)) from error


def _users(store: Place, reference: str) -> list[str]:
    children = [child for parent, child in _edges(store) if _own(parent) == reference]
    runs = (_("run {run}", run=run) for run in _runs_with(reference))
    projects = (_("labelling project {name}", name=name) for name in _projects_of(store, reference))
    return [*children, *runs, *projects, *_unsaved_changes(store, reference)]


def _own(reference: str) -> str:
    """Return a reference to one's own dataset without oneself: as the shared one, it has its owner's name."""
    return reference.removeprefix(f"{person()}/")


def _projects_of(store: Place, reference: str) -> list[str]:
    from armillary.datasets.labelling import projects

    with contextlib.suppress(DatasetError):  # a damaged one, in which nobody can label any more
        return [project.name for project in projects(Dataset(find(store, reference)))]
    return []


def _unsaved_changes(store: Place, reference: str) -> Iterator[str]:
    from armillary.datasets.editing.journal import unsaved

    for changes in unsaved():
        if changes.steps and (_own(changes.reference), changes.store) == (reference, str(store)):
            yield _("unsaved changes ({n})", n=changes.steps)


def _runs_with(reference: str) -> Iterator[str]:
    """Yield this person's training runs with a version."""
    from armillary.training.run_folder import runs_folder

    for plan in sorted(runs_folder().glob("*/plan.json")):
        with contextlib.suppress(OSError, ValueError):
            if _own(str(json.loads(plan.read_text(encoding="utf-8")).get("dataset"))) == reference:
                yield plan.parent.name


def _remove(folder: Place) -> None:
    """Remove a version: first its manifest, so that it is gone at once, then the rest; a note stays."""
    noted = _noted(folder)
    (folder / FILE_NAME).unlink()
    for inner in sorted(folder.rglob("*"), key=lambda path: str(path), reverse=True):
        if inner.name != DELETED:
            inner.rmdir() if inner.is_dir() else inner.unlink()
    if not noted:
        _noted(folder)


def _noted(folder: Place) -> bool:
    """Write who deleted a version, and when; False on a full disk, which deleting is to help."""
    note = {"author": person(), "deleted": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        (folder / DELETED).write_text(json.dumps(note), encoding="utf-8")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return False
    return True
