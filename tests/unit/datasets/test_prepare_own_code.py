"""A person mends a function, or what it calls, and prepares again: nothing of the old code stays."""

import importlib
import itertools

import pytest
from armillary import datasets
from armillary.datasets import Value, steps
from armillary.datasets.preparing import units
from armillary.errors import DatasetError
from distributed import Client, LocalCluster

HELPER = """
def added(x):
    if x == {bad}:
        raise ValueError("no")
    return x + {more}
"""
FUNCTION = """
import own_helper

def changed(example):
    return {"x": own_helper.added(example["x"])}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Returns a function that writes and loads a person's modules, and returns the function there."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    (tmp_path / "own_function.py").write_text(FUNCTION)
    monkeypatch.setattr(units, "UNIT_ROWS", 1)

    def loaded(bad, more):
        (tmp_path / "own_helper.py").write_text(HELPER.format(bad=bad, more=more))
        helper, function = (importlib.import_module(name) for name in ("own_helper", "own_function"))
        importlib.reload(helper)
        return function.changed

    return loaded


@pytest.fixture
def numbers(store):
    rows = [{"x": number} for number in range(600)]
    return datasets.import_examples(rows, {"x": Value("int64")}, "numbers", split=None)


def test_a_mended_helper_makes_all_examples_anew(numbers, own):
    function = own(bad=599, more=1)
    with pytest.raises(DatasetError, match="example 600: map: changed: ValueError: no"):
        datasets.prepare(numbers, steps.Map(function), "made")
    recipe = steps.Map(function)
    own(bad=-1, more=1000)
    made = datasets.prepare(numbers, recipe, "made")
    assert [row["x"] for row in made.iterate()] == [number + 1000 for number in range(600)]


def test_workers_run_what_is_loaded_here_whatever_they_have_run_before(numbers, own):
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as running, Client(running) as client:
        for more in (1, 1000):
            made = datasets.prepare(numbers, steps.Map(own(bad=-1, more=more)), f"more-{more}", cluster=client)
            assert [row["x"] for row in made.iterate()] == [number + more for number in range(600)]


def test_what_a_function_could_not_do_once_it_does_later_and_the_rest_is_kept(numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(units, "UNIT_ROWS", 1)
    answers, seen = tmp_path / "a service that answers", []

    def changed(example):
        if example["x"] == 599 and not answers.exists():
            raise TimeoutError("the service does not answer")
        return {"x": example["x"] + 1}

    with pytest.raises(DatasetError, match="TimeoutError: the service does not answer"):
        datasets.prepare(numbers, steps.Map(changed), "made")
    answers.touch()
    made = datasets.prepare(numbers, steps.Map(changed), "made", progress=lambda done, _total: seen.append(done))
    assert [row["x"] for row in made.iterate()] == list(range(1, 601))
    assert seen == [0, 512, 600]


def test_what_is_finished_is_kept_while_the_code_stays(numbers, own):
    function, seen = own(bad=-1, more=1), []

    def cancel(done, _total):
        if done >= 256:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.prepare(numbers, steps.Map(function), "made", progress=cancel)
    datasets.prepare(numbers, steps.Map(function), "made", progress=lambda done, _total: seen.append(done))
    assert seen[0] == 0
    assert seen[1] >= 256, "finished units are kept"
    assert all(earlier <= later for earlier, later in itertools.pairwise(seen))
