"""A run's folder: its plan, its start, its checkpoint, its metrics and its logs. Writes are atomic.

``$ARMILLARY_RUNS`` or ``~/.armillary-runs``, then the run's id. The folder must be one that the workers see too.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import cloudpickle
from armillary_kernels.texts import translator

from armillary.errors import TrainingError
from armillary.training.frameworks import network_format
from armillary.training.plan import TrainingPlan

_ = translator(__file__)


def runs_folder() -> Path:
    """Return the folder that holds this person's runs."""
    return Path(os.environ.get("ARMILLARY_RUNS") or Path.home() / ".armillary-runs").absolute()


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file aside, which takes the place of ``path`` once it is whole and on the disk."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


class RunFolder:
    """One run's folder.

    Parameters
    ----------
    path
        The folder; its name is the run's id.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BinaryIO | None = None

    @classmethod
    def create(cls, name: str) -> RunFolder:
        """Make a new folder, named by the model, the time and a few random letters."""
        run_id = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = cls(runs_folder() / run_id)
        try:
            folder.path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise _not_writable(folder.path, error) from error
        return folder

    @classmethod
    def open(cls, run_id: str) -> RunFolder:
        """Return an existing run's folder.

        Raises
        ------
        TrainingError
            If there is no such run.
        """
        folder = cls(runs_folder() / run_id)
        if not run_id or Path(run_id).name != run_id or not folder.plan_path.is_file():
            known = sorted(path.parent.name for path in runs_folder().glob("*/plan.json"))
            raise TrainingError(
                _("There is no run {run!r} in {folder}.", run=run_id, folder=runs_folder()),
                _("Latest runs: {names}.", names=", ".join(known[-5:]) or _("none yet")),
            )
        return folder

    def take(self) -> None:
        """Keep the folder for one attempt to train, until `release` or the end of this process.

        Raises
        ------
        TrainingError
            If another attempt, perhaps of another notebook, has it.
        """
        lock = (self.path / "lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise TrainingError(
                _("Run {run} is still going, here or in another notebook.", run=self.path.name),
                _("Wait for its end, or cancel it there."),
            ) from None
        except OSError:
            pass  # a file system without locks
        self._lock = lock

    def release(self) -> None:
        """Let the next attempt have the folder."""
        if self._lock is not None:
            self._lock.close()

    @property
    def plan_path(self) -> Path:
        """The plan as JSON."""
        return self.path / "plan.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line, in the order of the steps."""
        return self.path / "metrics.jsonl"

    def log_path(self, rank: int) -> Path:
        """Return the file that keeps all that a rank printed."""
        return self.path / f"rank-{rank}.log"

    def checkpoint_path(self, framework: str) -> Path:
        """Return the file of the newest checkpoint."""
        return self.path / f"checkpoint{network_format(framework).CHECKPOINT_SUFFIX}"

    def write_plan(self, plan: TrainingPlan) -> None:
        """Save the plan."""
        with writing(self.plan_path) as file:
            file.write(json.dumps(asdict(plan), indent=2).encode())

    def read_plan(self) -> TrainingPlan:
        """Return the saved plan."""
        stored = json.loads(self.plan_path.read_text(encoding="utf-8"))
        return TrainingPlan(**{**stored, "class_names": tuple(stored["class_names"])})

    def write_start(self, network: bytes, data: Any, plan: TrainingPlan) -> None:
        """Save the packed network and the dataset, from which every rank starts, then the plan.

        Raises
        ------
        TrainingError
            If they cannot be written; the folder is gone then.
        """
        try:
            with writing(self.path / "start.pkl") as file:
                file.write(cloudpickle.dumps({"network": network, "data": data}))
            self.write_plan(plan)
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)
            raise _not_writable(self.path, error) from error

    def read_start(self) -> tuple[bytes, Any]:
        """Return the packed network and the dataset. It is code, from a folder that only its owner may enter."""
        stored = cloudpickle.loads((self.path / "start.pkl").read_bytes())
        return stored["network"], stored["data"]

    def write_checkpoint(self, path: Path, write: Callable[[BinaryIO], None], epoch: int) -> None:
        """Save a checkpoint; the one before stays until the new one is whole.

        Raises
        ------
        TrainingError
            If it cannot be written, on a full disk for one.
        """
        try:
            with writing(path) as file:
                write(file)
            self.write_note("checkpoint", {"epoch": epoch})
        except OSError as error:
            raise TrainingError(
                _(
                    "The checkpoint of epoch {epoch} cannot be written to {path}: {error}.",
                    epoch=epoch,
                    path=path,
                    error=error,
                ),
                _("Make room there; the checkpoint before it is kept and fit(resume=...) goes on from it."),
            ) from error

    def checkpoint_epoch(self) -> int:
        """Return the epoch of the newest checkpoint, 0 before the first."""
        return int(self.read_note("checkpoint").get("epoch", 0))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one row of metrics."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return all rows of metrics; a line that a full disk or a death cut short is left out."""
        rows: list[dict[str, Any]] = []
        if self.metrics_path.exists():
            for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
                with suppress(json.JSONDecodeError):
                    rows.append(json.loads(line))
        return rows

    def forget_metrics_after(self, epoch: int) -> None:
        """Drop the rows of epochs that will be trained again."""
        kept = [json.dumps(row) + "\n" for row in self.read_metrics() if row["epoch"] <= epoch]
        with writing(self.metrics_path) as file:
            file.write("".join(kept).encode())

    def write_note(self, name: str, content: dict[str, Any]) -> None:
        """Save a small JSON object under ``name``."""
        with writing(self.path / f"{name}.json") as file:
            file.write(json.dumps(content).encode())

    def read_note(self, name: str) -> dict[str, Any]:
        """Return what `write_note` saved, or an empty dict."""
        try:
            return dict(json.loads((self.path / f"{name}.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}


def _not_writable(folder: Path, error: OSError) -> TrainingError:
    return TrainingError(
        _("The run's folder {path} cannot be written: {error}.", path=folder, error=error),
        _("Make room there, or set ARMILLARY_RUNS to another folder."),
    )
