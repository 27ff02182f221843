"""The same recipe and seed on threads here, one worker, two workers, and workers that die: the same bytes."""

import os
import signal

import pytest
from armillary import cluster, datasets
from armillary.datasets import Recipe, steps
from armillary.datasets.preparing import units
from armillary.errors import DatasetError
from support.deployment import wait_for
from support.real_data import inside

RECIPE = Recipe(
    [
        steps.Resize(20, 20),
        steps.Flip(),
        steps.Rotate(),
        steps.Colour(),
        steps.Noise(),
        steps.Mixup(),
        steps.SaveAs("jpeg"),
        steps.Normalise(),
    ]
)


@pytest.fixture(scope="module")
def workers():
    with cluster(workers=2) as running:
        yield running


@pytest.fixture
def thousand(store, mnist, monkeypatch):
    """A thousand digits, in units of one row group each."""
    monkeypatch.setattr(units, "UNIT_ROWS_WITH_MEDIA", 1)
    return datasets.import_arrays(mnist[0][::5], mnist[1][::5], name="thousand")


def everything(dataset):
    manifest = dataset.manifest
    return [file.sha256 for file in (*manifest.shards, manifest.split_file)], manifest.input, manifest.recipe


def test_threads_one_worker_and_two_give_the_same_bytes(workers, thousand, tmp_path):
    here = datasets.prepare(thousand, RECIPE, "here", copies=1)
    two = datasets.prepare(thousand, RECIPE, "two", copies=1, cluster=workers)
    assert workers.workers == 2
    workers.scale(1)
    wait_for(lambda: workers.workers == 1)
    one = datasets.prepare(thousand, RECIPE, "one", copies=1, cluster=workers.client())
    workers.scale(2)
    assert len(here.manifest.shards) == 4
    assert everything(here) == everything(two) == everything(one)


def test_a_tables_steps_learn_the_same_on_workers(workers, store, monkeypatch):
    monkeypatch.setattr(units, "UNIT_ROWS", 1)
    path = inside("palmerpenguins", "data", "penguins.csv")
    penguins = datasets.import_table(path, "penguins", "species")
    recipe = [
        steps.Impute("median"),
        steps.Scale(),
        steps.Encode(),
        steps.Filter("year", at_least=-1),
    ]
    here = datasets.prepare(penguins, recipe, "here")
    there = datasets.prepare(penguins, recipe, "there", cluster=workers)
    assert everything(here)[:2] == everything(there)[:2]
    assert len(here.manifest.shards) == 2


def test_a_worker_killed_midway_changes_nothing(workers, thousand, store):
    expected = everything(datasets.prepare(thousand, RECIPE, "undisturbed"))
    client = workers.client()
    victim = min(client.run(os.getpid).values())
    killed = []

    def kill(done, _total):
        if done > 1000 and not killed:
            killed.append(victim)
            os.kill(victim, signal.SIGKILL)

    ds = datasets.prepare(thousand, RECIPE, "disturbed", cluster=workers, progress=kill)
    assert killed
    assert everything(ds) == expected
    assert list((store / ".preparing").iterdir()) == []


def test_what_fails_on_a_worker_is_said_here(workers, thousand, monkeypatch):
    monkeypatch.setenv("ARMILLARY_LANGUAGE", "zh")
    broken = thousand.folder / thousand.manifest.shards[0].file
    broken.chmod(0o600)
    data = bytearray(broken.read_bytes())
    data[100] ^= 255
    broken.write_bytes(data)
    with pytest.raises(DatasetError, match=r"shard-00000.parquet"):
        datasets.prepare(thousand, steps.Flip(), cluster=workers)


def test_workers_that_see_no_files_of_ours_send_them(workers, thousand, monkeypatch):
    from armillary.datasets.preparing import crew

    here = datasets.prepare(thousand, RECIPE, "here")
    monkeypatch.setattr(crew.DaskWorkers, "sees_files", False)
    assert everything(datasets.prepare(thousand, RECIPE, "sent", cluster=workers)) == everything(here)
