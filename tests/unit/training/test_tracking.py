"""Runs in MLflow: what the writer sends, once, from a run's folder."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

from armillary.training.plan import TrainingPlan
from armillary.training.run_folder import RunFolder

STEPS = 4


def a_run(tmp_path, epochs: int, *, validated: bool = True) -> RunFolder:
    folder = RunFolder(tmp_path / "run-1")
    folder.path.mkdir(exist_ok=True)
    plan = TrainingPlan(
        run_id="run-1",
        name="digits-cnn",
        framework="torch",
        dataset="digits@3",
        class_names=("0", "1"),
        workers=2,
        epochs=epochs,
        batch_size=64,
        learning_rate=0.002,
        optimizer="adam",
        seed=0,
        train_examples=64 * STEPS,
        validation_examples=10,
    )
    folder.write_plan(plan)
    folder.metrics_path.unlink(missing_ok=True)
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * STEPS + 1, epoch * STEPS + 1):
            folder.append_metrics({"type": "step", "epoch": epoch, "step": step, "loss": 1 / step, "accuracy": 0.5})
        if validated:
            folder.append_metrics(
                {"type": "epoch", "epoch": epoch, "step": epoch * STEPS, "loss": 1.0, "accuracy": 0.5, "seconds": 2.0}
            )
    return folder


def write(folder: RunFolder, database, status: str) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    command = [sys.executable, "-m", "armillary.training.mlflow_writer", str(folder.path), "60"]
    subprocess.run(command, input=status, text=True, env=environment, check=True, timeout=120, capture_output=True)


def test_a_run_and_its_resumption_are_one_run_in_mlflow(tmp_path):
    database = tmp_path / "mlflow.db"
    write(a_run(tmp_path, epochs=1, validated=False), database, "failed\n")  # its epoch's row comes later
    write(a_run(tmp_path, epochs=2), database, "finished\n")
    with sqlite3.connect(database) as connection:
        assert connection.execute("select status, name from runs").fetchall() == [("FINISHED", "run-1")]
        assert ("digits",) in connection.execute("select name from experiments").fetchall()
        counts = dict(connection.execute("select key, count(*) from metrics group by key").fetchall())
        tags = dict(connection.execute("select key, value from tags").fetchall())
    assert counts == {"loss": 8, "accuracy": 8, "epoch_loss": 2, "epoch_accuracy": 2, "seconds": 2}
    assert tags["armillary.dataset"] == "digits@3"
