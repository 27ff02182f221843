"""A version copied under another name, or out of what another person shares into one's own store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from armillary.datasets import shards
from armillary.datasets.card import describe
from armillary.datasets.dataset import Dataset, open_dataset
from armillary.datasets.saving import Content, Placed, save
from armillary.datasets.splits import Assignment
from armillary.datasets.store import store_folder, versions
from armillary.inputs.input_spec import InputSpec


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
    content = same_rows(dataset, dataset.assignment, lambda: dataset.manifest.input, {"step": "copy"})
    own = name or dataset.name
    is_new = not versions(store_folder(), own)
    copied = Dataset(save(own, content, store_folder()))
    if is_new and (dataset.card.description or dataset.card.tags):
        describe(own, dataset.card.description, list(dataset.card.tags))
    return copied


def same_rows(
    dataset: Dataset, split: Assignment, model_input: Callable[[], InputSpec | None], step: dict[str, Any]
) -> Content:
    """Return the version that has the files of another, linked or copied, divided as ``split`` says.

    Parameters
    ----------
    model_input
        Returns the form in which models take its examples.
    step
        What it is made by.
    """
    return Content(
        features=dataset.features,
        target=dataset.target,
        place=lambda folder: _placed(dataset, folder, split, model_input()),
        recipe=(step,),
        source=dataset.manifest.source,
        licence=dataset.manifest.licence,
        parent=dataset.reference,
    )


def _placed(dataset: Dataset, folder: Path, split: Assignment, model_input: InputSpec | None) -> Placed:
    manifest = dataset.manifest
    skipped = [manifest.skipped_file] if manifest.skipped_file else []
    return Placed(
        shards=shards.link_files(folder, dataset.folder, manifest.shards),
        split=split,
        labels=dataset.labels(None) if dataset.target is not None else None,
        input=model_input,
        media=shards.link_files(folder, dataset.folder, manifest.media),
        skipped_file=next(iter(shards.link_files(folder, dataset.folder, skipped)), None),
        report=dataset.report,
    )
