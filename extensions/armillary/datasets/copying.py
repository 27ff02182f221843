"""A version copied under another name, or out of what another person shares into one's own store."""

from __future__ import annotations

from pathlib import Path

from armillary.datasets import shards
from armillary.datasets.card import describe
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.store import store_folder, versions


def copy(data: Dataset | str, name: str | None = None) -> Dataset:
    """Save a version as it is, with its splits, as one's own: then it stays when its owner stops sharing it.

    Parameters
    ----------
    data
        A version, such as ``"ann/digits@1"``; the newest for a bare name.
    name
        Of the copy; by default that of the dataset. When it is taken by a dataset of the same form, the copy becomes
        its next version. A new name gets the card, too.

    Raises
    ------
    DatasetError
        When a file is damaged, the name is taken by a dataset of another form, or nothing can be written.

    Examples
    --------
    >>> datasets.copy("ann/digits@1").reference
    'digits@1'
    """
    dataset = open_dataset(data)
    manifest = dataset.manifest
    content = Content(
        features=dataset.features,
        target=dataset.target,
        place=lambda folder: _placed(dataset, folder),
        recipe=({"step": "copy"},),
        source=manifest.source,
        licence=manifest.licence,
        parent=dataset.reference,
    )
    own = name or dataset.name
    is_new = not versions(store_folder(), own)
    copied = Dataset(save(own, content, store_folder()))
    if is_new and (dataset.card.description or dataset.card.tags):
        describe(own, dataset.card.description, list(dataset.card.tags))
    return copied


def _placed(dataset: Dataset, folder: Path) -> Placed:
    manifest = dataset.manifest
    skipped = [manifest.skipped_file] if manifest.skipped_file else []
    return Placed(
        shards=shards.link_files(folder, dataset.folder, manifest.shards),
        split=dataset.assignment,
        labels=dataset.labels(None) if dataset.target is not None else None,
        input=manifest.input,
        media=shards.link_files(folder, dataset.folder, manifest.media),
        skipped_file=next(iter(shards.link_files(folder, dataset.folder, skipped)), None),
        report=dataset.report,
    )
