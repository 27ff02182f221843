"""`fit`: checks what it is given, writes the run's start, and lets the supervisor do the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training import models
from armillary.training.check import check_network
from armillary.training.frameworks import FRAMEWORKS, framework_of
from armillary.training.places import check_cluster, check_gpus, connector
from armillary.training.plan import TrainingPlan
from armillary.training.run import Run
from armillary.training.run_folder import RunFolder
from armillary.training.supervisor import Supervisor
from armillary.training.tracking import track

if TYPE_CHECKING:
    from armillary.datasets import Dataset

_ = translator(__file__)

OPTIMIZERS = ("adam", "sgd")


def fit(
    model: Any = None,
    data: Dataset | str | None = None,
    *,
    workers: int | None = None,
    gpus: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    optimizer: str | None = None,
    seed: int | None = None,
    framework: str | None = None,
    name: str | None = None,
    cluster: Any = None,
    resume: str | None = None,
    worker_timeout: float = 30,
) -> Run:
    """Train a network on the workers of a Dask cluster, synchronously and data parallel; return at once.

    Parameters
    ----------
    model
        A ``torch.nn.Module``, a Keras 3 model, or the name of a ready one: ``"cnn"``, ``"rnn"``, ``"transformer"``.
        It takes the readers' ``x`` and returns logits ``(batch, classes)``; it is copied, not changed.
    data
        A dataset or its reference, such as ``"digits@1"``.
    workers
        Number of ranks, each a process of its own on one Dask worker (default 2).
    gpus
        GPUs to train on, leased from the hub's pool (default 0): as many ranks, each on a worker with a GPU of its own.
        The run waits until all are there; it says its place in the queue, and can be cancelled.
    epochs
        Passes over the training split (default 5).
    batch_size
        Examples of one step over all ranks; a multiple of their number (default 64).
    learning_rate
        At the start (default 2e-3); it falls in a straight line to a twentieth of that at the end.
    optimizer
        ``"adam"`` (default) or ``"sgd"``.
    seed
        Of a ready model's weights, of the order of examples and of dropout (default 0).
    framework
        ``"torch"`` or ``"tensorflow"`` for a ready model; default: the first that is installed.
    name
        The model's name; default: the dataset's and the network's.
    cluster
        An Armillary or Dask cluster or a Dask client; default: this person's own cluster, or a local one. One that is
        started for ``gpus`` ends with the run.
    resume
        The id of an earlier run: it goes on from its newest checkpoint, with its own model, data, optimizer and
        batch size. Other arguments that are given change its plan, ``epochs`` for one.
    worker_timeout
        Seconds to wait until so many workers are free.

    Returns
    -------
    Run

    Raises
    ------
    TrainingError
        If the arguments are wrong, or the network does not fit the dataset; nothing has been started then.
    """
    chosen = {
        "workers": workers,
        "gpus": gpus,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "seed": seed,
    }
    given = {key: value for key, value in chosen.items() if value is not None}
    if gpus and workers is None:
        given["workers"] = gpus
    check_cluster(cluster)
    if resume is not None:
        run = _resumed(resume, model, data, given, cluster)
    else:
        run = _prepared(model, data, given, cluster, framework=framework, name=name)
    track(run)
    Supervisor(run, connector(cluster, run), worker_timeout=worker_timeout, resume=resume is not None).start()
    return run


def _prepared(
    model: Any, data: Any, given: dict[str, Any], cluster: Any, *, framework: str | None, name: str | None
) -> Run:
    """Check everything, then write the folder of a new run."""
    settings: dict[str, Any] = {
        "workers": 2,
        "gpus": 0,
        "epochs": 5,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "optimizer": "adam",
        "seed": 0,
    }
    settings |= given
    check_settings(settings, framework, name)
    check_gpus(settings["gpus"], cluster)
    dataset = open_dataset(data)
    network = model
    if isinstance(model, str):
        classes = len(dataset.class_names)
        network = models.build(model, dataset.input_spec, classes, framework=framework, seed=settings["seed"])
    own = framework_of(network)
    if framework not in (None, own):
        raise TrainingError(
            _("The network is a {own} one, but framework={given!r}.", own=own, given=framework),
            _("Leave framework out."),
        )
    checked = check_network(network, own, dataset)
    name = name or _plain_name(f"{dataset.name}-{model if isinstance(model, str) else type(network).__name__}")
    folder = RunFolder.create(name)
    plan = TrainingPlan(
        run_id=folder.path.name,
        name=name,
        framework=own,
        dataset=dataset.reference,
        class_names=tuple(dataset.class_names),
        train_examples=dataset.splits["train"],
        validation_examples=dataset.splits.get("validation", 0),
        find_unused=checked.find_unused,
        folder=str(Path.cwd()),
        **_plain_numbers(settings),
    )
    folder.write_start(checked.packed, dataset, plan)
    folder.take()
    return Run(plan, folder)


def _resumed(run_id: str, model: Any, data: Any, given: dict[str, Any], cluster: Any) -> Run:
    """Open an earlier run; what it trained after its checkpoint is forgotten."""
    folder = RunFolder.open(run_id)
    before = folder.read_plan()
    if before.gpus and "workers" in given:
        given = {"gpus": given["workers"], **given}
    plan = replace(before, **_plain_numbers(given))
    if model is not None or (data is not None and open_dataset(data).reference != plan.dataset):
        raise TrainingError(
            _(
                "Run {run} has its own model and its dataset {dataset}; others cannot take their place.",
                run=run_id,
                dataset=plan.dataset,
            ),
            _("Call fit(resume={run!r}) without them, or start a new run without resume.", run=run_id),
        )
    if (plan.optimizer, plan.batch_size) != (before.optimizer, before.batch_size):
        raise TrainingError(
            _(
                "Run {run} has the optimizer {optimizer!r} and the batch size {size}, in which its checkpoint is "
                "written and its steps are counted.",
                run=run_id,
                optimizer=before.optimizer,
                size=before.batch_size,
            ),
            _("Call fit(resume={run!r}) without them, or start a new run without resume.", run=run_id),
        )
    fields = ("workers", "gpus", "epochs", "batch_size", "learning_rate", "optimizer", "seed")
    check_settings({key: getattr(plan, key) for key in fields}, plan.framework, plan.name)
    check_gpus(plan.gpus, cluster)
    folder.take()
    with ExitStack() as on_failure:
        on_failure.callback(folder.release)
        done = folder.checkpoint_epoch()
        _check_epochs(plan, done)
        folder.forget_metrics_after(done)
        folder.write_plan(plan)
        on_failure.pop_all()
    return Run(plan, folder)


def _check_epochs(plan: TrainingPlan, done: int) -> None:
    if done >= plan.epochs:
        raise TrainingError(
            _(
                "Run {run} has been trained for {done} epochs; {epochs} are asked for.",
                run=plan.run_id,
                done=done,
                epochs=plan.epochs,
            ),
            _("Ask for more: fit(resume={run!r}, epochs={epochs}).", run=plan.run_id, epochs=done + 5),
        )


def open_dataset(data: Any) -> Any:
    """Return a dataset for a reference, or what was given when it is one already."""
    if data is None:
        raise TrainingError(_("fit() was given no dataset."), _("Call fit(model, 'name@version')."))
    if isinstance(data, str):
        from armillary import datasets

        data = datasets.open(data)
    if not hasattr(data, "splits"):
        raise TrainingError(
            _("A {kind} is not a dataset.", kind=type(data).__name__),
            _("Give a dataset or its reference; datasets.import_arrays(X, y, name=...) makes one from arrays."),
        )
    if not data.splits.get("train"):
        raise TrainingError(
            _("The dataset {dataset} has no training examples.", dataset=data.reference),
            _("Split it with dataset.split(train=0.8, ...)."),
        )
    return data


def check_settings(settings: dict[str, Any], framework: str | None, name: str | None) -> None:
    """Raise one TrainingError that names all wrong settings and the right ones."""
    wrong = [*_wrong_counts(settings)]
    rate = settings["learning_rate"]
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not math.isfinite(rate) or rate <= 0:
        wrong.append(_("learning_rate is {value!r}; it must be a number above 0", value=rate))
    if settings["optimizer"] not in OPTIMIZERS:
        wrong.append(_not_one_of("optimizer", settings["optimizer"], OPTIMIZERS))
    if framework is not None and framework not in FRAMEWORKS:
        wrong.append(_not_one_of("framework", framework, FRAMEWORKS))
    if name is not None and name != _plain_name(name):
        wrong.append(_("name is {value!r}; it may have lower-case letters, digits, '-' and '.' only", value=name))
    if wrong:
        raise TrainingError(_("fit() cannot start: {reasons}.", reasons="; ".join(wrong)))


def _not_one_of(key: str, value: object, choices: Sequence[str]) -> str:
    listed = _(" or ").join(map(repr, choices))
    return _("{key} is {value!r}; it can be {choices}", key=key, value=value, choices=listed)


def _wrong_counts(settings: dict[str, Any]) -> list[str]:
    wrong = []
    for key in ("workers", "epochs", "batch_size"):
        value = settings[key]
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            wrong.append(_("{key} is {value!r}; it must be a whole number above 0", key=key, value=value))
    gpus = settings["gpus"]
    if isinstance(gpus, bool) or not isinstance(gpus, (int, np.integer)) or gpus < 0:
        wrong.append(_("gpus is {value!r}; it must be a whole number, 0 for none", value=gpus))
    elif gpus not in (0, settings["workers"]):
        wrong.append(
            _(
                "gpus is {gpus} and workers is {workers}; each worker has one GPU, so leave out workers",
                gpus=gpus,
                workers=settings["workers"],
            )
        )
    seed = settings["seed"]
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        wrong.append(_("seed is {value!r}; it must be a whole number from 0 to 2**32 - 1", value=seed))
    if not wrong and (rest := settings["batch_size"] % settings["workers"]):
        below, workers = settings["batch_size"] - rest, settings["workers"]
        wrong.append(
            _(
                "batch_size {size} cannot be divided among {workers} workers; use {near}",
                size=settings["batch_size"],
                workers=workers,
                near=_(" or ").join(str(size) for size in (below, below + workers) if size),
            )
        )
    return wrong


def _plain_numbers(settings: dict[str, Any]) -> dict[str, Any]:
    """Turn NumPy's numbers into Python's, which JSON knows."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}


def _plain_name(text: str) -> str:
    return re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.") or "model"
