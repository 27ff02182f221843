"""PyTorch on real ranks: the same curve on one worker and two, deaths, cancel and resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from armillary import evaluation, training
from armillary.errors import TrainingError
from armillary.training import tracking
from armillary.training.torch_rank import check_gpu
from armillary_kernels import gpu_environment
from support.training_networks import FailsOnSecondRank, Perceptron
from support.training_ranks import rank_processes, wait_until

SETTINGS = {"epochs": 3, "batch_size": 64, "learning_rate": 2e-2, "seed": 5}


@pytest.fixture(scope="module")
def uninterrupted(digits, dask_cluster):
    """A run on two workers, and its rank processes' command lines as seen while it ran."""
    run = training.fit(Perceptron(pause=0.1), digits, workers=2, cluster=dask_cluster, **SETTINGS)
    wait_until(lambda: len(run.metrics) > 1)
    seen = [(process.pid, process.ppid()) for process in rank_processes(run.id)]
    return run.wait(), seen


def test_two_ranks_are_processes_of_their_own(uninterrupted, client):
    run, seen = uninterrupted
    assert {pid for pid, _ in seen} == set(run.rank_processes.values())
    assert len({parent for _, parent in seen}) == 2, "each under its own Dask worker"
    assert not rank_processes(run.id)


@pytest.fixture(scope="module")
def alone(digits, dask_cluster):
    """The same run on one worker, while MLflow is down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_TRACKING", "on")
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setattr(tracking, "LAST_TRIES", 0.0)
        return training.fit(Perceptron(), digits, workers=1, cluster=dask_cluster, **SETTINGS).wait()


def test_a_run_goes_on_without_mlflow_and_says_where_its_metrics_are(alone):
    assert alone.status == "finished"
    assert alone.tracking_ended.wait(120)
    (said,) = [line for line in alone.logs.splitlines() if "could not be written to MLflow" in line]
    assert "Connection refused" in said
    assert f"They are kept in {alone.folder.metrics_path}." in said
    assert alone.folder.metrics_path.exists()


def test_a_gpu_that_pytorch_cannot_use_is_an_error_and_a_pretended_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_environment, "DEVICE_FILES", str(tmp_path / "nvidia"))
    (tmp_path / "nvidiactl").touch()
    check_gpu()
    (tmp_path / "nvidia0").touch()
    with pytest.raises(TrainingError, match=r"a GPU that PyTorch .* cannot use: .* train on the CPU"):
        check_gpu()


def test_one_worker_and_two_follow_the_same_curve(uninterrupted, alone):
    run, _ = uninterrupted
    first = run.metrics.query("epoch == 1")
    assert len(first) == 8
    np.testing.assert_allclose(first.loss, alone.metrics.query("epoch == 1").loss, rtol=1e-3)
    np.testing.assert_allclose(run.epochs.validation_loss, alone.epochs.validation_loss, rtol=1e-3)


def test_metrics_count_every_example_once(uninterrupted, digits):
    run, _ = uninterrupted
    assert list(run.metrics.step) == list(range(1, 25))
    sizes = np.array([64] * 7 + [digits.splits["train"] - 7 * 64])
    first = run.metrics.query("epoch == 1")
    assert (first.loss * sizes).sum() / sizes.sum() == pytest.approx(run.epochs.loss[0], rel=1e-6)


def test_the_model_learnt_and_loads_again(uninterrupted, digits):
    run, _ = uninterrupted
    pictures, labels = digits.arrays("test")
    probabilities = run.model.predict(pictures)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.5
    np.testing.assert_array_equal(training.load(run.id).predict(pictures), probabilities)
    assert evaluation.evaluate(run, digits).model_name == "digits-perceptron"


def test_a_killed_worker_ends_the_run_and_resume_makes_up_for_it(uninterrupted, digits, dask_cluster, client):
    run = training.fit(Perceptron(pause=0.1), digits, workers=2, cluster=client, **SETTINGS)
    wait_until(lambda: run.progress.step > 9)
    with pytest.raises(TrainingError, match=r"is still going, here or in another notebook"):
        training.fit(resume=run.id, cluster=client)
    victim = rank_processes(run.id)[0].ppid()
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"worker tcp.* died during epoch 2 of 3.*checkpoint of epoch 1 is kept"):
        run.wait(60)
    assert run.status == "failed"
    assert not rank_processes(run.id)
    with pytest.raises(TrainingError, match=r"has the optimizer 'adam' and the batch size 64"):
        training.fit(resume=run.id, optimizer="sgd", cluster=client)
    resumed = training.fit(resume=run.id, cluster=client).wait(120)
    assert resumed.id == run.id
    whole, _ = uninterrupted
    np.testing.assert_allclose(resumed.metrics.loss, whole.metrics.loss, rtol=1e-5)
    np.testing.assert_allclose(resumed.epochs.validation_loss, whole.epochs.validation_loss, rtol=1e-5)


def test_a_rank_that_fails_stops_all_and_shows_why(digits, client):
    run = training.fit(FailsOnSecondRank(pause=0.05), digits, workers=2, cluster=client, **SETTINGS)
    with pytest.raises(TrainingError) as caught:
        run.wait(60)
    message = str(caught.value)
    assert "Rank 1 failed with ZeroDivisionError: no third batch on the second rank." in message
    assert "in forward" in message
    assert "[rank 1] about to fail" in run.logs
    assert not rank_processes(run.id)


def test_ranks_end_when_the_client_is_killed(digits, dask_cluster, tmp_path):
    script = textwrap.dedent(
        f"""
        from distributed import Client
        from armillary import training
        from support.training_networks import Perceptron
        client = Client({dask_cluster.scheduler_address!r})
        run = training.fit(Perceptron(pause=0.2), "digits", epochs=50, cluster=client)
        print(run.id, flush=True)
        run.wait()
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        run_id = owner.stdout.readline().strip()
        wait_until(lambda: len(rank_processes(run_id)) == 2)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    wait_until(lambda: not rank_processes(run_id), 20)


def test_a_loss_that_is_not_a_number_is_explained(digits, client):
    run = training.fit(
        Perceptron(), digits, workers=1, cluster=client, epochs=2, batch_size=64, optimizer="sgd", learning_rate=1e30
    )
    with pytest.raises(TrainingError, match=r"The loss is nan in epoch 1, step \d of 8 \(learning rate 1e\+30\)"):
        run.wait(60)


def test_too_few_workers_are_named_and_let_go(digits, client):
    run = training.fit(Perceptron(), digits, workers=3, batch_size=63, cluster=client, worker_timeout=2)
    with pytest.raises(TrainingError, match=r"asks for 3 workers, but 2 could be had.*workers=2"):
        run.wait(30)
    assert client.submit(sum, [1, 2]).result(timeout=10) == 3
