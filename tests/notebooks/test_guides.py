"""Guides and job notebooks run as people run them: in a real deployment, by a person of it.

``start-here`` runs in the browser, in tests/browser/test_story.py.
"""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from support.person import sign_in

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
APP = "reader-digits"  # other tests of this deployment publish `digits`


@pytest.fixture(scope="module")
def person(deployment):
    return sign_in(deployment, "reader")


@pytest.fixture(scope="module")
def run(person):
    """Return a function that runs a notebook of the repository as the person, and returns what was printed."""

    def run_notebook(notebook, *options):
        command = shlex.join([str(BIN / "armillary"), "run", str(ROOT / "notebooks" / notebook), *options])
        answer = person.shell(command)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    return run_notebook


@pytest.fixture(scope="module")
def published(run):
    """Publish an app by the two job notebooks, and return what the second one printed."""
    assert "dataset: digits@1" in run("jobs/import_digits.ipynb")
    options = ["-p", "dataset", "digits@1", "-p", "epochs", "4", "-p", "publish_as", APP]
    return run("jobs/train_classifier.ipynb", *options, "-o", "trained.ipynb")


def test_the_jobs_train_a_classifier_and_publish_it(published, person, deployment):
    accuracy = float(re.search(r"accuracy: ([\d.]+)", published)[1])
    assert accuracy > 0.9
    assert re.search(r"url: (\S+)", published)[1].startswith(deployment.url)
    assert (person.home / "trained.ipynb").exists()


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
    assert text.count("finished 0.00") == 2


def test_the_jobs_of_the_readme(person):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^armillary run .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    answer = person.shell(
        f"set -e; cd {shlex.quote(str(ROOT))}; "
        + "; ".join(re.sub(r"-o (\S+)", rf"-o {person.home}/\1", command) for command in commands)
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_publishing_lines_of_the_readme_are_those_of_the_library():
    from armillary.publishing import App

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    source = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "publish(" in code)
    attributes = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)} - {"publish"}
    assert all(hasattr(App, name) or name in App.__annotations__ for name in attributes - {"model"})
