"""Datasets: named, versioned, immutable tables of examples with typed features.

>>> from armillary import datasets
>>> ds = datasets.import_arrays(X, y, name="digits")
>>> datasets.open("digits@1").splits
{'train': 4000, 'validation': 500, 'test': 500}
"""

from __future__ import annotations

from typing import Any

from armillary.datasets.arrays import import_arrays
from armillary.datasets.dataset import Dataset, DatasetInfo
from armillary.datasets.dataset import list_datasets as list  # noqa: A004 (datasets.list() reads as it should)
from armillary.datasets.dataset import open_dataset as open  # noqa: A004 (datasets.open() reads as it should)
from armillary.datasets.features import ClassLabel, Feature, Image, Value
from armillary.datasets.images import import_images
from armillary.datasets.preview import Preview, preview
from armillary.datasets.readers import Batches, to_tensorflow, to_torch
from armillary.datasets.tables import import_table
from armillary.inputs.input_spec import InputSpec

__all__ = [
    "Batches",
    "ClassLabel",
    "Dataset",
    "DatasetInfo",
    "Feature",
    "Image",
    "InputSpec",
    "Preview",
    "Value",
    "import_arrays",
    "import_images",
    "import_table",
    "list",
    "open",
    "panel",
    "preview",
    "to_tensorflow",
    "to_torch",
]


def panel(dataset: Dataset | str | None = None) -> Any:
    """Return the panel that imports, shows and saves datasets, with ``dataset`` open if given."""
    from armillary.datasets.dataset_panel import DatasetsPanel

    return DatasetsPanel(dataset)
