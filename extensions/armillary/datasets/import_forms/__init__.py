"""The Import tab's few fields for each way to understand what was dropped."""

from armillary.datasets.import_forms.arrays_form import ArraysForm
from armillary.datasets.import_forms.files_form import FilesForm
from armillary.datasets.import_forms.hub_form import HubForm
from armillary.datasets.import_forms.query_form import QueryForm
from armillary.datasets.import_forms.target_form import TargetForm
from armillary.datasets.import_forms.translation_form import TranslationForm
from armillary.datasets.import_forms.way_form import WayForm

#: The form of each kind of way; the other kinds have nothing to be told.
FORMS: dict[str, type[WayForm]] = {
    "table": TargetForm,
    "columns": TargetForm,
    "sql": QueryForm,
    "numpy": ArraysForm,
    "files": FilesForm,
    "translations": TranslationForm,
    "huggingface": HubForm,
}

__all__ = ["FORMS", "WayForm"]
