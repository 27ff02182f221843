"""Keras on real ranks: the same curve on one worker and two, cancel and resume."""

from __future__ import annotations

import numpy as np
import pytest
from armillary import training
from armillary.errors import TrainingError
from support.training_ranks import rank_processes

SETTINGS = {"epochs": 6, "batch_size": 16, "learning_rate": 1e-3, "seed": 5, "framework": "tensorflow"}


@pytest.fixture(scope="module")
def uninterrupted(digits, dask_cluster):
    return training.fit("cnn", digits, workers=2, cluster=dask_cluster, **SETTINGS).wait(120)


def test_one_worker_and_two_follow_the_same_curve(uninterrupted, digits, dask_cluster):
    alone = training.fit("cnn", digits, workers=1, cluster=dask_cluster, **SETTINGS).wait(120)
    first = uninterrupted.metrics.query("epoch == 1")
    assert len(first) >= 10
    np.testing.assert_allclose(first.loss, alone.metrics.query("epoch == 1").loss, rtol=1e-3)


def test_the_model_learnt_and_loads_again(uninterrupted, digits):
    pictures, labels = digits.arrays("test")
    probabilities = uninterrupted.model.predict(pictures)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.8
    np.testing.assert_array_equal(training.load(uninterrupted.id).predict(pictures), probabilities)


def test_cancel_stops_the_ranks_and_resume_makes_up_for_it(uninterrupted, digits, client):
    run = training.fit("cnn", digits, workers=2, cluster=client, **SETTINGS)
    run.listen(lambda: run.cancel() if len(run.epochs) else None)
    with pytest.raises(TrainingError, match=r"was cancelled\. The checkpoint of epoch \d is kept"):
        run.wait(120)
    assert run.status == "cancelled"
    assert not rank_processes(run.id)
    resumed = training.fit(resume=run.id, cluster=client).wait(120)
    np.testing.assert_allclose(resumed.metrics.loss, uninterrupted.metrics.loss, rtol=1e-4)
