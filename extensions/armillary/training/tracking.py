"""Runs in MLflow, written by a process of its own: a slow or absent MLflow neither slows nor breaks training.

Importing MLflow takes seconds and its server may take a minute to wake, so `mlflow_writer` reads the metrics from the
run's folder, at low priority, and learns of the run's end by its standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from armillary_kernels.texts import translator

from armillary.training.run import ENDED, Run
from armillary.training.run_folder import runs_folder

_ = translator(__file__)

#: How long the writer tries again after the run's end, and how long it may take in all before we say so, seconds.
LAST_TRIES, PATIENCE = 60.0, 120.0


def tracking_address() -> str:
    """Return MLflow's address: the hub's or one's own by MLFLOW_TRACKING_URI, else a local store beside the runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs_folder() / 'mlflow.db'}"


def track(run: Run) -> None:
    """Start writing a run to MLflow; ARMILLARY_TRACKING=off leaves it out."""
    if os.environ.get("ARMILLARY_TRACKING", "").lower() == "off":
        run.tracking_ended.set()
        return
    with (run.folder.path / "mlflow.log").open("ab") as log:
        writer = subprocess.Popen(
            [sys.executable, "-m", "armillary.training.mlflow_writer", str(run.folder.path), str(LAST_TRIES)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "MLFLOW_TRACKING_URI": tracking_address()},
        )
    threading.Thread(target=_tell_end, args=(run, writer), name=f"track {run.id}", daemon=True).start()


def _tell_end(run: Run, writer: subprocess.Popen[bytes]) -> None:
    """Tell the writer how the run ended, wait for it, and warn when it could not write."""
    ended = threading.Event()
    stop = run.listen(lambda: ended.set() if run.status in ENDED else None)
    if run.status in ENDED:
        ended.set()
    ended.wait()
    stop()
    try:
        writer.communicate(run.status.encode() + b"\n", timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        writer.kill()
    except BrokenPipeError:
        writer.wait()
    if writer.returncode != 0:
        log = run.folder.path / "mlflow.log"
        reason = run.folder.read_note("mlflow").get("error") or _("see {path}", path=log)
        run.warn(
            _(
                "The metrics could not be written to MLflow ({reason}). They are kept in {path}.",
                reason=reason,
                path=run.folder.metrics_path,
            )
        )
    run.tracking_ended.set()
