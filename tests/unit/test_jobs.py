"""`armillary run`: parameters checked before anything runs, the output kept, exit codes that a shell can use."""

import functools
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from armillary import jobs
from armillary.errors import JobError
from armillary.jobs.command import run as command
from click.testing import CliRunner

PARAMETERS = """
from typing import Literal
epochs: int = 2  # passes over the data
learning_rate = 1e-3
name = "digits@1"
widths: list[int] = [8, 16]
rank = None  # type: int
device: Literal["cpu", "gpu"] = "cpu"
publish_as: str | None = None
folder: Path = None
""".strip()


def code(source, *tags):
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata["tags"] = list(tags)
    return cell


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of the given code cells behind a parameters cell, and return its path."""

    def write(*cells):
        kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        document = nbformat.v4.new_notebook(
            cells=[code(PARAMETERS.replace("folder: Path = None", ""), "parameters"), *cells],
            metadata={"kernelspec": kernelspec},
        )
        path = tmp_path / "train.ipynb"
        nbformat.write(document, path)
        return path

    return write


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpus", "1", "--gpu-memory", "4GiB"), "Give one of them."),
        (("--gpu-memory", "much"), "'much' is no number of GPUs and no size of memory."),
        (("--gpu-memory", "2"), "'2' is no size of memory. Write 4GiB or 500MiB."),
    ],
)
def test_a_share_of_a_gpu_that_cannot_be_is_refused_before_anything_runs(notebook, here, options, said):
    result = CliRunner().invoke(command, [str(notebook()), *options])
    assert result.exit_code == 2
    assert said in result.output


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def statuses(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell.metadata.papermill.status for cell in cells if cell.cell_type == "code"]


def test_parameters_are_read_from_annotation_comment_and_default(tmp_path):
    document = nbformat.v4.new_notebook(cells=[code(PARAMETERS, "parameters")])
    path = tmp_path / "declared.ipynb"
    nbformat.write(document, path)
    types = {name: parameter.type_name for name, parameter in jobs.parameters(path).items()}
    assert types == {
        "epochs": "int",
        "learning_rate": "float",
        "name": "str",
        "widths": "list[int]",
        "rank": "int",
        "device": 'Literal["cpu", "gpu"]'.replace('"', "'"),
        "publish_as": "str | None",
        "folder": "any",
    }
    assert jobs.parameters(path)["epochs"].help == "passes over the data"
    assert jobs.parameters(path)["epochs"].default == "2"


def test_every_wrong_parameter_is_named_in_one_error_before_anything_runs(notebook, here):
    path = notebook(code("open('ran', 'w').close()"))
    with pytest.raises(JobError) as caught:
        jobs.run(path, {"epocs": 3, "learning_rate": "fast", "epochs": True})
    assert str(caught.value) == (
        "train.ipynb: there is no parameter 'epocs', did you mean 'epochs'?; "
        "parameter 'learning_rate' is float, not 'fast' (str); parameter 'epochs' is int, not True (bool). "
        "Its parameters: epochs (int), learning_rate (float), name (str), widths (list[int]), rank (int), "
        "device (Literal['cpu', 'gpu']), publish_as (str | None)."
    )
    assert [file.name for file in here.iterdir()] == ["train.ipynb"]


def test_a_job_runs_keeps_its_output_and_tells_its_values(notebook, here):
    path = notebook(
        code("assert learning_rate == 1"), code("{'epochs': epochs, 'widths': widths, 'name': name}", "result")
    )
    before = path.read_bytes()
    result = jobs.run(path, {"epochs": 5, "learning_rate": 1, "widths": [1, 2]})
    assert (result.status, result.cells_run, result.cells) == ("finished", 4, 4)
    assert result.values == {"epochs": 5, "widths": [1, 2], "name": "digits@1"}
    assert result.output.parent == here
    assert result.output.name.startswith("train-")
    assert result.raise_for_failure() is result
    assert path.read_bytes() == before


def test_a_failing_cell_is_named_and_the_output_kept(notebook, here):
    path = notebook(code("1"), code("raise ValueError('no digits')"), code("2"))
    answer = CliRunner().invoke(command, [str(path), "-p", "name", "3", "-o", "out.ipynb"])
    assert answer.exit_code == 1
    assert "Failed: train.ipynb" in answer.stdout
    assert "ValueError: no digits (cell 4)" in answer.stdout
    assert str(here / "out.ipynb") in answer.stdout
    assert statuses("out.ipynb") == ["completed"] * 3 + ["failed", "pending"]


def test_a_kernel_that_dies_fails_the_job(notebook, here):
    result = jobs.run(notebook(code("import os; os._exit(3)")), output="out.ipynb")
    assert result.status == "failed"
    assert result.failure.cell == 2
    with pytest.raises(JobError, match=r"cell 2 of train\.ipynb failed: DeadKernelError"):
        result.raise_for_failure()


def test_text_and_yaml_are_read_in_the_declared_types(notebook, here):
    path = notebook(code("{'seen': [epochs, learning_rate, name, widths, publish_as, rank]}", "result"))
    (here / "values.yaml").write_text("learning_rate: 1e-2\nepochs: 9\nrank: 3\n")
    arguments = ["-f", "values.yaml", "-p", "epochs", "4", "-p", "name", "7", "-p", "widths", "[3]"]
    answer = CliRunner().invoke(command, [str(path), *arguments])
    assert answer.exit_code == 0, answer.output
    assert "seen: [4, 0.01, '7', [3], None, 3]" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.ipynb", "-p", "epochs", "many"], "parameter 'epochs' is int, not 'many' (str)"),
        (["train.ipynb", "-p", "device", "tpu"], "parameter 'device' is Literal['cpu', 'gpu'], not 'tpu'"),
        (["missing.ipynb"], "There is no notebook missing.ipynb."),
        (["values.yaml"], "values.yaml cannot be read as a notebook"),
        (["train.ipynb", "-f", "missing.yaml"], "missing.yaml cannot be read"),
        (["train.ipynb", "-f", "values.yaml"], "values.yaml does not hold parameters."),
        (["train.ipynb", "-o", "train.ipynb"], "would overwrite the notebook itself"),
        (["train.ipynb", "-o", "nowhere/out.ipynb"], "There is no folder"),
        (["train.ipynb", "--kernel", "fortran"], "needs the kernel 'fortran'"),
    ],
)
def test_wrong_usage_is_explained_and_runs_nothing(notebook, here, arguments, said):
    notebook(code("open('ran', 'w').close()"))
    (here / "values.yaml").write_text("- 1\n- 2\n")
    answer = CliRunner().invoke(command, arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert sorted(file.name for file in here.iterdir()) == ["train.ipynb", "values.yaml"]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_job_stops_its_kernel_and_keeps_the_output(notebook, here, signal_number):
    waiting = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(300)"
    path = notebook(code("'before'"), code(waiting), code("'after'"))
    script = "from armillary.jobs.command import run; run()"
    command = [sys.executable, "-c", script, str(path), "-o", "out.ipynb"]
    # What runs in the background of a shell ignores Ctrl-C, and so would its children.
    attended = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    job = subprocess.Popen(command, stdout=-1, stderr=-1, preexec_fn=attended)
    deadline = time.monotonic() + 60
    while not (here / "pid").exists() or not (here / "pid").read_text():
        assert time.monotonic() < deadline, "the job did not reach its second cell"
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal_number)
    output, _ = job.communicate(timeout=30)
    assert job.returncode == 130
    assert "Stopped: train.ipynb" in output.decode()
    assert statuses("out.ipynb") == ["completed", "completed", "failed", "pending"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((here / "pid").read_text()), 0)


def test_listing_shows_the_parameters(notebook, here):
    answer = CliRunner().invoke(command, [str(notebook()), "--list"])
    assert answer.exit_code == 0
    assert "epochs: int = 2" in answer.stdout
    assert "passes over the data" in answer.stdout


def test_the_summary_is_read_in_chinese_too(notebook, here, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    answer = CliRunner().invoke(command, [str(notebook()), "-o", "out.ipynb"])
    assert "已完成：train.ipynb" in answer.stdout
