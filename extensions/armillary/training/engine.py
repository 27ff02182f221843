"""What a framework does inside a rank, and the loop over epochs that is the same for all of them.

A step's loss is the sum over all ranks' examples divided by their number, so an uneven last batch weighs exactly
what it should, and any number of ranks follows the same curve. Ranks agree on the numbers of several steps at once,
which keeps the network quiet between them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt
from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training.plan import TrainingPlan
from armillary.training.run_folder import RunFolder

_ = translator(__file__)

#: How often an epoch's numbers are reported; each time all ranks have to meet.
REPORTS_PER_EPOCH = 10

Emit = Callable[[dict[str, Any]], None]
Sums = npt.NDArray[np.float64]


class Engine(ABC):
    """One rank's network, optimizer and connection to the other ranks.

    Parameters
    ----------
    plan
        The run.
    rank
        Number of this rank, from 0.
    """

    reader: ClassVar[str]

    def __init__(self, plan: TrainingPlan, rank: int) -> None:
        self.plan = plan
        self.rank = rank

    @abstractmethod
    def prepare(self, packed: bytes, example: npt.NDArray[np.float32]) -> None:
        """Join the other ranks, then rebuild the network and make the optimizer."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Seed the framework's random numbers by run, epoch and rank: a resumed run needs no saved state of them."""

    @abstractmethod
    def train_step(self, x: Any, y: Any, examples: int, learning_rate: float) -> Any:
        """Take one optimizer step.

        Parameters
        ----------
        x, y
            This rank's share of the batch; may be empty.
        examples
            Number of examples over all ranks.
        learning_rate
            Of this step.

        Returns
        -------
        object
            This rank's sum of losses, number of right answers and number of examples, to give to `sum_over_ranks`.
        """

    @abstractmethod
    def evaluate(self, x: Any, y: Any) -> Any:
        """Return the same three numbers without learning."""

    @abstractmethod
    def sum_over_ranks(self, tallies: list[Any]) -> Sums:
        """Return ``(len(tallies), 3)``, each added up over all ranks; every rank must call it alike."""

    @abstractmethod
    def save(self, file: BinaryIO, epoch: int) -> None:
        """Write weights, the optimizer's state and the epoch."""

    @abstractmethod
    def restore(self, path: str) -> int:
        """Read what `save` wrote and return its epoch."""

    @abstractmethod
    def leave(self) -> None:
        """Part from the other ranks in order."""


def train(engine: Engine, data: Any, folder: RunFolder, *, resume: bool, emit: Emit) -> None:
    """Train all epochs that are left, with a validation and a checkpoint after each.

    Raises
    ------
    TrainingError
        If the loss is no longer a number, or a checkpoint cannot be written.
    """
    plan = engine.plan
    path = folder.checkpoint_path(plan.framework)
    first = (engine.restore(str(path)) if resume and path.exists() else 0) + 1
    for epoch in range(first, plan.epochs + 1):
        began = time.perf_counter()
        engine.begin_epoch(epoch)
        trained = _train_epoch(engine, data, epoch, emit)
        seconds = time.perf_counter() - began
        validated = _validate(engine, data)
        if engine.rank == 0:
            folder.write_checkpoint(path, partial(engine.save, epoch=epoch), epoch)
            emit(_epoch_row(plan, epoch, trained, validated, seconds))


def _train_epoch(engine: Engine, data: Any, epoch: int, emit: Emit) -> Sums:
    """Return the epoch's sums of loss, right answers and examples, ``(3,)``."""
    plan = engine.plan
    batches = _batches(engine, data, "train", epoch)
    total, tallies = np.zeros(3), []
    block = max(1, round(plan.steps_per_epoch / REPORTS_PER_EPOCH))
    for step, (x, y) in enumerate(batches):
        rate = plan.learning_rate_at((epoch - 1) * plan.steps_per_epoch + step)
        tallies.append(engine.train_step(x, y, plan.step_examples(step), rate))
        if len(tallies) < block and step + 1 < plan.steps_per_epoch:
            continue
        sums = engine.sum_over_ranks(tallies)
        _check_finite(plan, sums, epoch, step + 1 - len(tallies))
        total, tallies = total + sums.sum(axis=0), []
        if engine.rank == 0:
            done = (epoch - 1) * plan.steps_per_epoch + step + 1
            emit({"type": "step", "epoch": epoch, "step": done, **_means(sums.sum(axis=0))})
    return total


def _validate(engine: Engine, data: Any) -> Sums | None:
    """Return the validation split's sums, or None when it is empty."""
    if not engine.plan.validation_examples:
        return None
    tallies = [engine.evaluate(x, y) for x, y in _batches(engine, data, "validation", 0)]
    return engine.sum_over_ranks(tallies).sum(axis=0)


def _batches(engine: Engine, data: Any, split: str, epoch: int) -> Iterator[tuple[Any, Any]]:
    plan = engine.plan
    batches: Iterable[tuple[Any, Any]] = getattr(data, engine.reader)(
        split,
        batch_size=plan.rank_batch_size,
        rank=engine.rank,
        world_size=plan.workers,
        seed=plan.seed,
        shuffle=split == "train",
        epoch=epoch,
    )
    return iter(batches)


def _check_finite(plan: TrainingPlan, sums: Sums, epoch: int, first_step: int) -> None:
    """Raise at the first step whose loss is not finite; all ranks see the same sums and stop together."""
    wrong = np.flatnonzero(~np.isfinite(sums[:, 0]))
    if wrong.size:
        raise TrainingError(
            _(
                "The loss is {loss} in epoch {epoch}, step {step} of {steps} (learning rate {rate:g}).",
                loss=sums[wrong[0], 0],
                epoch=epoch,
                step=first_step + int(wrong[0]) + 1,
                steps=plan.steps_per_epoch,
                rate=plan.learning_rate,
            ),
            _(
                "Try a lower learning rate, such as {rate:g}, and look for missing or very large values in the data.",
                rate=plan.learning_rate / 10,
            ),
        )


def _means(sums: Sums) -> dict[str, float]:
    return {"loss": float(sums[0] / sums[2]), "accuracy": float(sums[1] / sums[2])}


def _epoch_row(plan: TrainingPlan, epoch: int, trained: Sums, validated: Sums | None, seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "epoch", "epoch": epoch, "step": epoch * plan.steps_per_epoch, **_means(trained)}
    if validated is not None:
        row |= {f"validation_{name}": value for name, value in _means(validated).items()}
    return row | {"seconds": seconds, "examples_per_second": plan.train_examples / seconds}
