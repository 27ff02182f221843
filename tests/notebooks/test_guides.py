"""Guides and job notebooks run as people run them: in a real deployment, by a person of it.

``start-here`` runs in the browser, in tests/browser/test_story.py.
"""

import ast
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from support.person import sign_in

ROOT = Path(__file__).parents[2]
#: As installed: a person's account may not be able to read the checkout.
NOTEBOOKS = Path(sys.prefix) / "share" / "armillary" / "notebooks"
APP = "reader-digits"  # other tests of this deployment publish `digits`


@pytest.fixture(scope="module")
def person(usual_deployment):
    return sign_in(usual_deployment, "reader")


@pytest.fixture(scope="module")
def run(person):
    """Return a function that runs a notebook of the repository as the person, and returns what was printed."""

    def run_notebook(notebook, *options):
        command = shlex.join(["armillary", "run", str(NOTEBOOKS / notebook), *options])
        answer = person.shell(command)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    return run_notebook


@pytest.fixture(scope="module")
def published(person):
    """Run the job commands of the README as they stand, the last one publishing too; return what it printed."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first, last = re.findall(r"^armillary run .*$", readme, re.MULTILINE)
    for command in (first, f"{last} -p publish_as {APP}"):
        answer = person.shell(command.replace("notebooks/", f"{NOTEBOOKS}/"))
        assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_jobs_train_a_classifier_and_publish_it(published, person, usual_deployment):
    accuracy = float(re.search(r"accuracy: ([\d.]+)", published)[1])
    assert accuracy > 0.9
    assert re.search(r"app: (\S+)", published)[1].startswith(usual_deployment.url)
    assert (person.home / "out.ipynb").exists()


def test_calling_the_api(published, run, person):
    run("guides/calling-the-api.ipynb", "-p", "app_name", APP, "-o", "called.ipynb")
    answers = re.findall(r"this is a (\d); the model says (\d)", (person.home / "called.ipynb").read_text())
    assert len(answers) == 3
    assert sum(true == said for true, said in answers) >= 2


def test_the_tensorflow_guide_reaches_its_accuracy(run, person):
    run("guides/tensorflow.ipynb", "-o", "keras.ipynb")
    accuracy = re.search(r"Accuracy on the test examples: ([\d.]+)%", (person.home / "keras.ipynb").read_text())
    assert float(accuracy[1]) >= 97


def test_the_jobs_guide(run, person):
    run("guides/jobs.ipynb", "-o", "jobs-out.ipynb")
    text = (person.home / "jobs-out.ipynb").read_text()
    assert "did you mean 'epochs'" in text
    assert "exit code 2" in text
    assert "finished 0.003 0." in text


def test_the_datasets_guide(run, person):
    run("guides/datasets.ipynb", "-o", "datasets-out.ipynb")
    text = (person.home / "datasets-out.ipynb").read_text()
    assert "3 of 153 examples in iris.csv cannot be used: line 152: 2 values for 5 columns" in text
    assert "1. impute(method='median')" in text
    assert "iris@1 cannot be deleted: iris@2 refer to it" in text
    assert "iris@2 → iris-again@1: 0 added, 0 removed, 0 relabelled, 0 in other splits" in text


#: The guide on each kind of data, and what it says when it has gone all the way.
KINDS = {
    "images": ["digit-pictures@2: 0 added, 1 removed, 3 relabelled", "torch.Size([64, 1, 28, 28])"],
    "texts": ["Nearly the same example stands", "leaks: 0", "torch.Size([32, 24])"],
    "sounds": ["5_90.flac · There is nothing to hear", "5_91.flac · ", "torch.Size([32, 48, 40])"],
    "videos": ["left_99.mp4", "it is no video in a known format", "torch.Size([8, 4, 3, 48, 48])"],
    "tables": ["horsepower: 10 values are missing", "cars: 80 to 82", "torch.Size([32, 7])"],
    "boxes": ["The same example stands 2 times", "<Dataset pages@2: 40 examples", "torch.Size([8, 3, 96, 128])"],
    "translations": ["'zh': '文件'", "{'en': torch.Size([16, 48]), 'zh': torch.Size([16, 48])}"],
    "several": ["there is no file for 'caption' (.txt)", "'sound': torch.Size([16, 32, 32])"],
}


def test_the_guides_on_each_kind_of_data(run, person):
    """In one kernel, which forgets all variables between them: loading PyTorch anew for each would take most time."""
    guides = {path.stem.removeprefix("datasets-"): path for path in (NOTEBOOKS / "guides").glob("datasets-*.ipynb")}
    assert guides.keys() == KINDS.keys()
    (person.home / "kinds.ipynb").write_text(json.dumps(one_after_the_other(guides)))
    run(person.home / "kinds.ipynb", "-o", "kinds-out.ipynb")
    said = dict.fromkeys(KINDS, "")
    for cell in json.loads((person.home / "kinds-out.ipynb").read_text())["cells"]:
        if "guide" in cell["metadata"]:
            said[cell["metadata"]["guide"]] += words(cell)
    missing = {kind: [text for text in texts if text not in said[kind]] for kind, texts in KINDS.items()}
    assert not any(missing.values()), missing


def one_after_the_other(guides):
    """Return a notebook of the code cells of several, whose metadata say where they come from."""
    notebooks = {kind: json.loads(path.read_text(encoding="utf-8")) for kind, path in guides.items()}
    forget = {"cell_type": "code", "metadata": {}, "source": "%reset -f", "outputs": [], "execution_count": None}
    cells = []
    for kind, notebook in notebooks.items():
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        cells += [{**cell, "metadata": {"guide": kind}} for cell in code] + [{**forget, "id": f"forget-{kind}"}]
    return {**next(iter(notebooks.values())), "cells": cells}


def words(cell):
    """Return what a cell printed and returned, as text."""
    outputs = cell.get("outputs", [])
    parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join("".join(part) for part in parts)


def test_the_guide_on_sharing_gpus(run, person):
    run("guides/sharing-gpus.ipynb", "-o", "gpus.ipynb")
    text = (person.home / "gpus.ipynb").read_text()
    assert "CUDA sees: no GPU" in text
    assert re.search(r"CUDA sees: \d", text)
    assert re.search(r"GPU \d \(Simulated GPU\).*: reader \(you\), Job · sharing-gpus\.ipynb", text)


def test_the_publishing_lines_of_the_readme_are_those_of_the_library():
    from armillary.publishing import App

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    source = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "publish(" in code)
    attributes = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)} - {"publish"}
    assert all(hasattr(App, name) or name in App.__annotations__ for name in attributes - {"model"})
