"""The notebooks of the repository as they lie there: clean, on our kernels, and pointing at files that exist."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from armillary import jobs

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


def names(paths):
    return [str(path.relative_to(ROOT / "notebooks")) for path in paths]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_a_notebook_is_valid_and_carries_no_outputs(path):
    document = nbformat.read(path, as_version=4)
    nbformat.validate(document)
    for cell in document.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_a_notebook_names_one_of_our_kernels(path):
    kernelspec = nbformat.read(path, as_version=4).metadata.kernelspec
    if path.parent.name == "apps":
        assert kernelspec.name == "python3"  # a page computes nothing, so it holds no GPU
        return
    spec = json.loads((ROOT / "kernels/specs" / kernelspec.name / "kernel.json").read_text(encoding="utf-8"))
    assert kernelspec.display_name == spec["display_name"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_links_to_other_notebooks_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("name", ["import_digits", "train_classifier"])
def test_every_parameter_of_a_job_has_a_type(name):
    parameters = jobs.parameters(ROOT / "notebooks/jobs" / f"{name}.ipynb")
    assert parameters
    assert all(parameter.type_name != "any" for parameter in parameters.values())
