"""Copies one run's plan and metrics to MLflow: ``python -m armillary.training.mlflow_writer FOLDER SECONDS``.

It reads the run's folder while the run goes on and one word from its standard input at the end, the run's status; an
input that ends without a word means that the run's owner died. What was sent is remembered in the folder, so that
starting it again sends only the rest.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from armillary.training.run_folder import RunFolder

#: How often new metrics are sent, seconds.
PERIOD = 2.0
#: MLflow takes at most 1,000 metrics in one request.
ROWS_AT_ONCE = 150

MLFLOW_STATUS = {"finished": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "": "KILLED"}
NOT_METRICS = ("type", "rank", "epoch", "step")


class Writer:
    """Sends one run's rows.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.plan = folder.read_plan()
        self.note = folder.read_note("mlflow")
        self.note.pop("error", None)
        self.client: Any = None

    def connect(self) -> None:
        """Find or make the experiment, named by the dataset, and the run."""
        if self.client is None:
            from mlflow.tracking import MlflowClient

            self.client = MlflowClient()
        if "run_id" in self.note:
            self.client.update_run(self.note["run_id"], status="RUNNING")
            return
        name = self.plan.dataset.split("@")[0]
        found = self.client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self.client.create_experiment(name)
        run = self.client.create_run(experiment, run_name=self.plan.run_id, tags=self._tags())
        self.note |= {"run_id": run.info.run_id, "experiment": name, "step": 0, "epoch": 0}
        self._remember()
        for key in ("workers", "epochs", "batch_size", "learning_rate", "optimizer", "seed"):
            self.client.log_param(run.info.run_id, key, getattr(self.plan, key))

    def _tags(self) -> dict[str, str]:
        plan = self.plan
        return {
            "armillary.run": plan.run_id,
            "armillary.model": plan.name,
            "armillary.dataset": plan.dataset,
            "armillary.framework": plan.framework,
        }

    def send_new_rows(self) -> None:
        """Send the rows after the last ones sent, remembered by their step and by their epoch.

        An epoch's row has the step of the row before it, and may come seconds later, after its validation.
        """
        from mlflow.entities import Metric

        rows = [row for row in self.folder.read_metrics() if row[row["type"]] > self.note[row["type"]]]
        for first in range(0, len(rows), ROWS_AT_ONCE):
            batch = rows[first : first + ROWS_AT_ONCE]
            metrics = [Metric(*metric) for row in batch for metric in _metrics(row)]
            self.client.log_batch(self.note["run_id"], metrics=metrics)
            self.note |= {row["type"]: row[row["type"]] for row in batch}
            self._remember()

    def end(self, status: str) -> None:
        """Send what is left, then the run's end."""
        self.send_new_rows()
        self.client.set_terminated(self.note["run_id"], MLFLOW_STATUS.get(status, "FAILED"))

    def _remember(self) -> None:
        self.folder.write_note("mlflow", self.note)

    def remember_failure(self, error: Exception) -> None:
        """Leave the reason where the run's owner looks for it."""
        self.folder.write_note("mlflow", {**self.note, "error": f"{type(error).__name__}: {error}"[:500]})


def _metrics(row: dict[str, Any]) -> list[tuple[str, float, int, int]]:
    """Return (name, value, time in milliseconds, step) for each number of a row."""
    now = int(time.time() * 1000)
    prefix = {"loss": "epoch_loss", "accuracy": "epoch_accuracy"} if row["type"] == "epoch" else {}
    named = {prefix.get(key, key): value for key, value in row.items() if key not in NOT_METRICS and value is not None}
    return [(key, float(value), now, row["step"]) for key, value in named.items()]


def write(folder: RunFolder, last_tries: float) -> int:
    """Write until the run has ended and all is sent; return the exit status.

    Sending is tried again for ``last_tries`` seconds after the run's end.
    """
    writer, status, tries_end, connected = Writer(folder), None, float("inf"), False
    while True:
        try:
            if not connected:
                writer.connect()
                connected = True
            if status is not None:
                writer.end(status)
                return 0
            writer.send_new_rows()
        except Exception as error:
            traceback.print_exc()
            writer.remember_failure(error)
            if time.monotonic() > tries_end:
                return 1
        if status is None:
            status = _read_status(PERIOD)
            tries_end = time.monotonic() + last_tries if status is not None else tries_end
        else:
            time.sleep(PERIOD)


def _read_status(patience: float) -> str | None:
    """Return the run's status once it is told, "" when its owner died, None before."""
    readable, _, _ = select.select([sys.stdin], [], [], patience)
    return sys.stdin.readline().strip() if readable else None


def main() -> int:
    """Write the run whose folder is the first argument; the second one is how long to try after its end."""
    with contextlib.suppress(OSError):
        os.nice(10)
    # MLflow's own patience is minutes; ours is the loop above.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    return write(RunFolder(Path(sys.argv[1])), float(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
