"""Datasets: named, versioned, immutable tables of examples with typed features.

>>> from armillary import datasets
>>> ds = datasets.import_arrays(X, y, name="digits")
>>> datasets.open("digits@1").splits
{'train': 4000, 'validation': 500, 'test': 500}
"""

from __future__ import annotations

from typing import Any

from armillary.datasets import browse, labelling
from armillary.datasets.browse.histograms import Histogram, histogram
from armillary.datasets.card import Card, describe
from armillary.datasets.checking.checker import check
from armillary.datasets.checking.findings import Finding, Suggestion
from armillary.datasets.checking.report import CheckReport
from armillary.datasets.copying import copy
from armillary.datasets.dataset import Dataset, DatasetInfo
from armillary.datasets.dataset import list_datasets as list  # noqa: A004 (datasets.list() reads as it should)
from armillary.datasets.dataset import open_dataset as open  # noqa: A004 (datasets.open() reads as it should)
from armillary.datasets.editing import Edits, edit, unsaved_edits
from armillary.datasets.features import (
    Array,
    Audio,
    Boxes,
    ClassLabel,
    Feature,
    Image,
    Sequence,
    Struct,
    TokenLabels,
    Translation,
    Value,
    Video,
)
from armillary.datasets.history import Difference, Lineage, delete, diff, lineage
from armillary.datasets.huggingface import from_huggingface, to_huggingface
from armillary.datasets.importing.arrays import import_arrays
from armillary.datasets.importing.arrow_files import import_arrow
from armillary.datasets.importing.boxes import import_boxes
from armillary.datasets.importing.examples import SaveOptions, import_examples
from armillary.datasets.importing.files import import_files
from armillary.datasets.importing.huggingface_hub import import_huggingface
from armillary.datasets.importing.images import import_images
from armillary.datasets.importing.number_files import import_idx, import_numpy
from armillary.datasets.importing.sql import import_sql
from armillary.datasets.importing.tables import import_table
from armillary.datasets.importing.translations import import_translations
from armillary.datasets.media import Medium
from armillary.datasets.preparing import steps
from armillary.datasets.preparing.preparing import prepare
from armillary.datasets.preparing.recipe import Recipe
from armillary.datasets.preparing.trying import Trial, prepared_example, try_recipe
from armillary.datasets.reading.frames import to_dask, to_pandas
from armillary.datasets.reading.readers import Batches, to_tensorflow, to_torch
from armillary.datasets.recognising.import_as import import_as
from armillary.datasets.recognising.looks import Preview
from armillary.datasets.recognising.preview import preview
from armillary.datasets.recognising.ways import Way
from armillary.datasets.sharing import Access, SharedInfo, access, share
from armillary.datasets.sharing import list_shared as shared
from armillary.inputs.input_spec import InputSpec

__all__ = [
    "Access",
    "Array",
    "Audio",
    "Batches",
    "Boxes",
    "Card",
    "CheckReport",
    "ClassLabel",
    "Dataset",
    "DatasetInfo",
    "Difference",
    "Edits",
    "Feature",
    "Finding",
    "Histogram",
    "Image",
    "InputSpec",
    "Lineage",
    "Medium",
    "Preview",
    "Recipe",
    "SaveOptions",
    "Sequence",
    "SharedInfo",
    "Struct",
    "Suggestion",
    "TokenLabels",
    "Translation",
    "Trial",
    "Value",
    "Video",
    "Way",
    "access",
    "browse",
    "check",
    "check_panel",
    "copy",
    "delete",
    "describe",
    "diff",
    "edit",
    "from_huggingface",
    "histogram",
    "import_arrays",
    "import_arrow",
    "import_as",
    "import_boxes",
    "import_examples",
    "import_files",
    "import_huggingface",
    "import_idx",
    "import_images",
    "import_numpy",
    "import_sql",
    "import_table",
    "import_translations",
    "labelling",
    "lineage",
    "list",
    "open",
    "panel",
    "prepare",
    "prepared_example",
    "preview",
    "recipe_panel",
    "share",
    "shared",
    "steps",
    "to_dask",
    "to_huggingface",
    "to_pandas",
    "to_tensorflow",
    "to_torch",
    "try_recipe",
    "unsaved_edits",
]


def panel(dataset: Dataset | str | None = None) -> Any:
    """Return the panel that imports, shows and saves datasets, with ``dataset`` open if given."""
    from armillary.datasets.dataset_panel import DatasetsPanel

    return DatasetsPanel(dataset)


def check_panel(dataset: Dataset | str) -> Any:
    """Return the panel that checks ``dataset``, shows what was found, and saves what is accepted as a new version."""
    from armillary.datasets.checking.check_panel import CheckPanel

    return CheckPanel(dataset)


def recipe_panel(dataset: Dataset | str, *, cluster: Any = None, recipe: Recipe | None = None) -> Any:
    """Return the panel that chooses the steps of a recipe, tries them on examples of ``dataset``, and prepares it."""
    from armillary.datasets.preparing.recipe_view import RecipeView

    return RecipeView(dataset, cluster=cluster, recipe=recipe)
