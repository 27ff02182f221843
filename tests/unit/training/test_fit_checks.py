"""What `fit` refuses before anything is started, and networks that only need packing."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from armillary import training
from armillary.clusters.gpu_queue import GpuQueue
from armillary.clusters.progress import Arrival
from armillary.errors import TrainingError
from armillary.training import models
from armillary.training.check import check_network
from armillary.training.frameworks import LAYOUTS, blank_batch, network_format
from armillary.training.places import check_gpus
from armillary.training.run_folder import RunFolder, runs_folder
from support.full_disk import file_size_limit
from support.training_networks import Perceptron
from torch import nn


def refusal(*arguments, **options) -> str:
    """Return why fit() refuses; no run may be left behind."""
    before = set(runs_folder().glob("*"))
    with pytest.raises(TrainingError) as caught:
        training.fit(*arguments, **options)
    assert set(runs_folder().glob("*")) == before
    return str(caught.value)


def test_all_wrong_settings_in_one_error(digits):
    wrong = {"workers": 0, "epochs": 1.5, "learning_rate": -1, "seed": -1}
    text = refusal("cnn", digits, **wrong, optimizer="adamw", framework="jax")
    for part in (
        *(f"{name} is {value}" for name, value in wrong.items()),
        "'adam' or 'sgd'",
        "'torch' or 'tensorflow'",
    ):
        assert part in text


def test_a_batch_that_cannot_be_shared_out(digits):
    assert "batch_size 50 cannot be divided among 3 workers; use 48 or 51" in refusal(
        "cnn", digits, workers=3, batch_size=50
    )


def test_an_output_that_does_not_match_the_classes(digits):
    text = refusal(Perceptron(outputs=7), digits)
    assert "(4, 7)" in text
    assert "digits@1 has 10 classes (0, 1, 2, 3, 4, ...)" in text
    assert "Let its last layer have 10 outputs" in text


def test_an_input_that_does_not_match_the_pictures(digits):
    assert "cannot take a batch of the shape (4, 1, 8, 8)" in refusal(nn.Linear(3, 10), digits)


def test_probabilities_instead_of_logits(digits):
    assert "Leave out the softmax" in refusal(nn.Sequential(Perceptron(), nn.Softmax(dim=1)), digits)


def test_what_is_no_network(digits):
    assert "neither a torch.nn.Module nor a Keras 3 model" in refusal(object(), digits)
    assert "There is no ready model 'resnet'" in refusal("resnet", digits)


def test_what_is_no_dataset_and_what_is_no_cluster(digits):
    assert "A tuple is not a dataset" in refusal(Perceptron(), digits.arrays("train"))
    assert "A int is not a cluster" in refusal(Perceptron(), digits, cluster=42)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_network_that_cannot_learn(digits, framework):
    network = models.build("rnn", digits.input_spec, 10, framework=framework)
    if framework == "torch":
        network.requires_grad_(False)
    else:
        network.trainable = False
    assert "none of its parameters is trainable" in refusal(network, digits)


def test_a_run_that_cannot_be_written_leaves_nothing(digits):
    with file_size_limit(4096):
        refused = refusal(Perceptron(), digits)
    assert "cannot be written: [Errno 27] File too large" in refused


def test_metrics_cut_short_by_a_full_disk_are_left_out(tmp_path: Path):
    folder = RunFolder(tmp_path)
    folder.append_metrics({"type": "step", "epoch": 1, "step": 1})
    with folder.metrics_path.open("a") as file:
        file.write('{"type": "st')
    assert [row["step"] for row in folder.read_metrics()] == [1]


def test_an_unknown_run_and_a_run_of_others(digits):
    assert "There is no run 'nothing'" in refusal(resume="nothing")
    assert "There is no run '../x'" in refusal(resume="../x")


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("name", models.NAMES)
def test_ready_models_travel_unchanged_and_are_seeded(digits, framework, name):
    form = network_format(framework)
    x = digits.input_spec.prepare(digits.arrays("test")[0][:3], LAYOUTS[framework])
    network = models.build(name, digits.input_spec, 10, framework=framework)
    logits = form.logits(network, x)
    assert logits.shape == (3, 10)
    np.testing.assert_array_equal(form.logits(form.unpack(form.pack(network), x), x), logits)
    again = models.build(name, digits.input_spec, 10, framework=framework)
    np.testing.assert_allclose(form.logits(again, x), logits, atol=1e-6)


def test_parameters_without_a_gradient_are_noticed(digits):
    network = Perceptron()
    network.idle = nn.Linear(2, 2)
    assert check_network(network, "torch", digits).find_unused
    assert not check_network(Perceptron(), "torch", digits).find_unused


def test_lazy_layers_start_alike_on_every_rank(digits):
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    checked = check_network(lazy, "torch", digits)
    form, x = network_format("torch"), torch.rand(2, 1, 8, 8).numpy()
    first, second = (form.logits(form.unpack(checked.packed, x), x) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_keras_class_from_a_notebook_travels(digits):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    network = keras.Sequential([keras.layers.Flatten(), Doubled(), keras.layers.Dense(10)])
    checked = check_network(network, "tensorflow", digits)
    form, x = network_format("tensorflow"), blank_batch(digits.input_spec, "tensorflow") + 1
    first, second = (form.logits(form.unpack(checked.packed, x), x) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_checkpoints_hold_no_code(digits, tmp_path: Path):
    network = Perceptron()
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": network}, path)
    with pytest.raises(Exception, match="weights_only"):
        network_format("torch").load_weights(network, str(path))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"gpus": -1, "workers": 2}, "gpus is -1; it must be a whole number, 0 for none"),
        ({"gpus": 2, "workers": 3}, "gpus is 2 and workers is 3; each worker has one GPU, so leave out workers"),
        ({"gpus": 2}, "There are no GPUs here to train on. Leave out gpus"),
    ],
)
def test_gpus_that_cannot_be_had(digits, asked, sentence):
    assert sentence in refusal("cnn", digits, **asked)


@pytest.mark.parametrize(
    ("there", "sentence"), [(2, "Training asks for 3 GPUs; this machine has 2."), (3, ""), (None, "")]
)
def test_more_gpus_than_the_pool_has(monkeypatch, there, sentence):
    monkeypatch.setattr("armillary.training.places.Connection.from_environment", object)
    monkeypatch.setattr("armillary.clusters.gpu_queue.pool_size", lambda _connection: there)
    if sentence:
        with pytest.raises(TrainingError, match=sentence):
            check_gpus(3, None)
    else:
        check_gpus(3, None)


def test_a_cluster_without_gpus_is_refused_for_a_run_that_asks_for_some(digits, client):
    run = training.fit(Perceptron(), digits, gpus=2, cluster=client)
    with pytest.raises(TrainingError, match="asks for 2 GPUs, but 0 workers of this cluster have one"):
        run.wait(60)


def test_a_run_that_waits_for_its_cluster_can_be_cancelled(digits, monkeypatch):
    """However long that takes; the run says meanwhile how many workers have come."""

    def never(workers, gpus, report):
        while True:
            report(Arrival(1, workers, GpuQueue(1, 3, "turn", None, ("bob",))))
            time.sleep(0.01)

    monkeypatch.setattr("armillary.clusters.cluster", never)
    monkeypatch.setattr("armillary.training.fitting.check_gpus", lambda *_: None)
    run = training.fit(Perceptron(), digits, gpus=2)
    deadline = time.monotonic() + 10
    while "place 3 in the queue" not in run.progress.note:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert run.progress.note.startswith("Dask cluster: 1 of 2 workers ready")
    run.cancel()
    with pytest.raises(TrainingError, match="was cancelled"):
        run.wait(10)
    assert run.status == "cancelled"
