"""A training run as its owner sees it: status, metrics, logs, cancel, and in the end the model."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training.frameworks import blank_batch, network_format
from armillary.training.plan import TrainingPlan
from armillary.training.run_folder import RunFolder
from armillary.training.trained_model import TrainedModel

if TYPE_CHECKING:
    import pandas as pd

_ = translator(__file__)

Status = Literal["waiting", "running", "finished", "failed", "cancelled"]
ENDED: tuple[Status, ...] = ("finished", "failed", "cancelled")

#: Log lines that a run keeps in memory; the run's folder has all.
LINES_KEPT = 2000


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    status
        The run's status.
    epoch, epochs
        The epoch at work, from 1, and their number.
    step, steps
        Optimizer steps done and in all.
    seconds_left
        Expected time to the end, None before it can be told.
    loss, accuracy
        The newest numbers on training examples, None before the first.
    note
        What the run waits for, or why it ended.
    """

    status: Status
    epoch: int
    epochs: int
    step: int
    steps: int
    seconds_left: float | None
    loss: float | None
    accuracy: float | None
    note: str


class Run:
    """One training run; `armillary.training.fit` makes them.

    Parameters
    ----------
    plan
        What it does.
    folder
        Where it is kept.
    """

    def __init__(self, plan: TrainingPlan, folder: RunFolder) -> None:
        self.plan = plan
        self.folder = folder
        self._changed = threading.Condition()
        self._status: Status = "waiting"
        self._error: TrainingError | None = None
        self._rows: list[dict[str, Any]] = [row for row in folder.read_metrics() if row["type"] in ("step", "epoch")]
        self._first_step = self._rows[-1]["step"] if self._rows else 0
        self._lines: list[str] = []
        self._note = ""
        self._started: float | None = None
        self._cancel = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self.rank_processes: dict[int, int] = {}
        self.tracking_ended = threading.Event()
        self._model: TrainedModel | None = None

    # What the owner asks ------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's name: its folder's, and the one that `load` and ``fit(resume=...)`` take."""
        return self.plan.run_id

    @property
    def status(self) -> Status:
        """``"waiting"`` (for workers), ``"running"``, ``"finished"``, ``"failed"`` or ``"cancelled"``."""
        return self._status

    @property
    def error(self) -> TrainingError | None:
        """Why the run failed or was cancelled, None otherwise."""
        return self._error

    @property
    def metrics(self) -> pd.DataFrame:
        """One row for each report of a few steps, in order.

        Columns: ``epoch`` (from 1), ``step`` (from 1, over all epochs), ``loss`` and ``accuracy`` (means over the
        examples since the row before). The last row of each epoch has ``epoch_loss``, ``epoch_accuracy``,
        ``validation_loss``, ``validation_accuracy``, ``seconds`` and ``examples_per_second`` too.
        """
        import pandas as pd

        with self._changed:
            rows = list(self._rows)
        steps = {row["step"]: dict(row) for row in rows if row["type"] == "step"}
        for row in (row for row in rows if row["type"] == "epoch"):
            renamed = {
                ("epoch_" + name if name in ("loss", "accuracy") else name): value for name, value in row.items()
            }
            steps.setdefault(row["step"], {}).update(renamed)
        table = pd.DataFrame([steps[step] for step in sorted(steps)], columns=METRIC_COLUMNS)
        return table.astype({"epoch": "int64", "step": "int64"})

    @property
    def epochs(self) -> pd.DataFrame:
        """One row for each epoch that has ended: ``loss``, ``accuracy``, ``validation_loss`` and so on."""
        import pandas as pd

        return pd.DataFrame(self.epoch_rows).drop(columns=["type", "rank"], errors="ignore")

    @property
    def epoch_rows(self) -> list[dict[str, Any]]:
        """What `epochs` shows, as plain dicts."""
        with self._changed:
            return [row for row in self._rows if row["type"] == "epoch"]

    @property
    def logs(self) -> str:
        """What the ranks printed, newest last; the run's folder has all of it in ``rank-<n>.log``."""
        with self._changed:
            return "\n".join(self._lines)

    @property
    def progress(self) -> Progress:
        """How far the run is now."""
        with self._changed:
            last = self._rows[-1] if self._rows else {}
            step, steps = last.get("step", 0), self.plan.epochs * self.plan.steps_per_epoch
            epoch = min(self.plan.epochs, step // self.plan.steps_per_epoch + 1)
            return Progress(
                status=self._status,
                epoch=epoch,
                epochs=self.plan.epochs,
                step=step,
                steps=steps,
                seconds_left=self._seconds_left(step, steps),
                loss=last.get("loss"),
                accuracy=last.get("accuracy"),
                note=self._note,
            )

    def _seconds_left(self, step: int, steps: int) -> float | None:
        if self._started is None or step <= self._first_step or self._status != "running":
            return None
        return (time.monotonic() - self._started) / (step - self._first_step) * (steps - step)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for the end, showing progress; interrupting the wait leaves the run going.

        Parameters
        ----------
        timeout
            Seconds; None waits as long as it takes.

        Raises
        ------
        TrainingError
            If the run failed or was cancelled.
        TimeoutError
            If it is still going after ``timeout`` seconds; it goes on.
        """
        from armillary.training.progress import following

        if self._status not in ENDED:
            with following(self):
                self._await_end(timeout)
        if self._error is not None:
            raise self._error
        return self

    def _await_end(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._status not in ENDED:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"Run {self.id} is still {self._status} after {timeout:g} s; it goes on.")
                # Bounded, so that an interrupt is noticed on every platform.
                self._changed.wait(0.5 if left is None else min(0.5, left))

    def cancel(self) -> None:
        """Stop every rank within seconds; the newest checkpoint stays."""
        self._cancel.set()

    @property
    def model(self) -> TrainedModel:
        """The trained model; waits for the end of the run.

        Raises
        ------
        TrainingError
            If the run failed or was cancelled.
        """
        self.wait()
        if self._model is None:
            self._model = read_model(self.folder)
        return self._model

    def __repr__(self) -> str:
        progress = self.progress
        return f"<Run {self.id}: {self.status}, epoch {progress.epoch} of {progress.epochs}, loss {progress.loss}>"

    def _ipython_display_(self) -> None:
        from armillary.training.progress import show

        show(self)

    # What the supervisor tells --------------------------------------------------------------------------

    @property
    def cancel_requested(self) -> bool:
        """Whether `cancel` has been called."""
        return self._cancel.is_set()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change, from another thread; the returned function ends that."""
        self._listeners.append(listener)

        def stop() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return stop

    def record(self, event: dict[str, Any]) -> None:
        """Take in an event of a rank."""
        with self._changed:
            if event["type"] in ("step", "epoch"):
                self._rows.append(event)
            elif event["type"] == "log":
                self._lines += [f"[rank {event['rank']}] {line}" for line in event["lines"]]
                del self._lines[:-LINES_KEPT]
            elif event["type"] == "started":
                self.rank_processes[event["rank"]] = event["pid"]
                self._started = time.monotonic()
        self._announce()

    def note(self, text: str) -> None:
        """Say in words what the run is doing."""
        with self._changed:
            self._note = text
        self._announce()

    def warn(self, text: str) -> None:
        """Add a line of our own to the logs."""
        with self._changed:
            self._lines.append(f"[armillary] {text}")
        self._announce()

    def move_to(self, status: Status, error: TrainingError | None = None) -> None:
        """Change the status; the first end is final."""
        with self._changed:
            if self._status in ENDED:
                return
            self._status, self._error = status, error
            self._note = str(error) if error else ""
            self._changed.notify_all()
        self._announce()

    def _announce(self) -> None:
        for listener in list(self._listeners):
            listener()


METRIC_COLUMNS = (
    "epoch",
    "step",
    "loss",
    "accuracy",
    "epoch_loss",
    "epoch_accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
    "examples_per_second",
)


def read_model(folder: RunFolder) -> TrainedModel:
    """Return the model of a run's newest checkpoint.

    Raises
    ------
    TrainingError
        If there is no checkpoint yet.
    """
    plan = folder.read_plan()
    path = folder.checkpoint_path(plan.framework)
    if not path.exists():
        raise TrainingError(
            _("Run {run} has no checkpoint: no epoch has ended.", run=plan.run_id),
            _("Start it again with fit(resume=...)."),
        )
    packed, data = folder.read_start()
    spec = data.input_spec
    form = network_format(plan.framework)
    network = form.unpack(packed, blank_batch(spec, plan.framework))
    form.load_weights(network, str(path))
    return TrainedModel(plan.framework, network, spec, plan.class_names, plan.dataset, plan.run_id, plan.name)


def load(run_id: str) -> TrainedModel:
    """Return the model of an earlier run, from its newest checkpoint.

    Raises
    ------
    TrainingError
        If there is no such run, or no epoch of it has ended.
    """
    return read_model(RunFolder.open(run_id))
