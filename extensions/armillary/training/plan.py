"""What a run is to do: decided once by `fit`, read by every rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

from armillary.training.frameworks import FrameworkName

#: Part of the learning rate that is left at the end: small last steps settle where large ones would jump about.
FINAL_RATE = 0.05


@dataclass(frozen=True)
class TrainingPlan:
    """One training run.

    Attributes
    ----------
    run_id
        Name of the run's folder.
    name
        The model's name.
    framework
        ``"torch"`` or ``"tensorflow"``.
    dataset
        Such as ``"digits@1"``.
    class_names
        One for each logit.
    workers
        Number of ranks.
    epochs
        Passes over the training split.
    batch_size
        Examples of one step, over all ranks.
    learning_rate
        Of the optimizer, at the start; see `learning_rate_at`.
    optimizer
        ``"adam"`` or ``"sgd"``.
    seed
        Of the order of examples and of dropout.
    train_examples, validation_examples
        Sizes of the splits.
    find_unused
        Whether some parameters take no part in the loss (PyTorch's DDP has to know).
    folder
        Client's working folder: modules beside a notebook are found from there.
    gpus
        GPUs that were asked for: as many as ranks, or 0.
    """

    run_id: str
    name: str
    framework: FrameworkName
    dataset: str
    class_names: tuple[str, ...]
    workers: int
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    seed: int
    train_examples: int
    validation_examples: int
    find_unused: bool = False
    folder: str = ""
    gpus: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in one epoch."""
        return math.ceil(self.train_examples / self.batch_size)

    @property
    def rank_batch_size(self) -> int:
        """Examples of one step on one rank."""
        return self.batch_size // self.workers

    def learning_rate_at(self, done: int) -> float:
        """Return the learning rate after ``done`` steps: a straight line down to `FINAL_RATE` of it at the end."""
        return self.learning_rate * (1 - (1 - FINAL_RATE) * done / (self.epochs * self.steps_per_epoch))

    def step_examples(self, step: int) -> int:
        """Return the number of examples over all ranks in step ``step`` (from 0) of an epoch."""
        return min(self.batch_size, self.train_examples - step * self.batch_size)
