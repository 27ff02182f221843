"""Exporting in a process of its own.

The exporters load what the notebook's kernel need not have: after TensorFlow, PyTorch's would load a second LLVM and
crash the process, and the memory of both stays taken. So a crash becomes an error, and the memory comes back. The
network travels as it does to a rank, and a class that is defined in the notebook with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cloudpickle
from armillary_kernels.texts import translator

from armillary.errors import PublishingError, TrainingError
from armillary.publishing.exporter import FAILURE, GRAPH, REFUSED, START
from armillary.training.frameworks import network_format

if TYPE_CHECKING:
    from armillary.training.trained_model import TrainedModel

_ = translator(__file__)

#: Names of environment variables that an exporter has no use for.
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|API_KEY", re.IGNORECASE)

#: Lines of a crashed exporter's log that its error shows.
_LOG_LINES = 20


def export_in_own_process(model: TrainedModel, folder: Path) -> Path:
    """Write a model's network as ONNX.

    Parameters
    ----------
    model
        The trained model.
    folder
        An empty folder for this export, which nobody else may enter: what lies in it is run.

    Returns
    -------
    Path
        The ONNX file in the folder.

    Raises
    ------
    PublishingError
        When the network cannot be packed or exported, or the exporter crashes.
    """
    (folder / START).write_bytes(_pack(model))
    with (folder / "log").open("wb") as log:
        status = _run(folder, log)
    if status == REFUSED:
        failure = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
        refused = _refused(model.name, failure["reason"])
        refused.add_note(failure["traceback"])
        raise refused
    if status != 0:
        raise _crashed(model.name, status, (folder / "log").read_text(encoding="utf-8", errors="replace"))
    return folder / GRAPH


def _pack(model: TrainedModel) -> bytes:
    try:
        packed = network_format(model.framework).pack(model.network)
    except TrainingError as error:  # its words are about workers
        reason = error.__cause__ or error
        raise _refused(model.name, f"{type(model.network).__name__}: {reason}") from error
    return cloudpickle.dumps({"framework": model.framework, "network": packed, "input": model.input})


def _run(folder: Path, log: BinaryIO) -> int:
    """Run the exporter to its end and return its exit status; it ends with this process and with an interrupt."""
    exporter = subprocess.Popen(
        [sys.executable, "-m", "armillary.publishing.exporter", str(folder)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # an interrupt of the cell is ours to handle
        env=_environment(),
    )
    try:
        return exporter.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(exporter.pid, signal.SIGKILL)
        exporter.wait()
        if exporter.stdin:
            exporter.stdin.close()


def _environment() -> dict[str, str]:
    """Return this process's environment without its secrets, on the CPU, with the same modules to be found."""
    plain = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    found = os.pathsep.join(path for path in sys.path if path)
    return {**plain, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": found, "PYTHONFAULTHANDLER": "1"}


def _refused(name: str, reason: str) -> PublishingError:
    return PublishingError(
        _("'{model}' cannot be exported to ONNX: {reason}", model=name, reason=reason),
        _("Build the network from layers that ONNX knows, without Python branches that depend on the data."),
    )


def _crashed(name: str, status: int, log: str) -> PublishingError:
    if status == -signal.SIGKILL:
        return PublishingError(
            _("The exporter of '{model}' was killed: the machine may have run out of memory.", model=name),
            _("Shut down kernels that you no longer need, and try again."),
        )
    cause = signal.Signals(-status).name if status < 0 else _("exit status {status}", status=status)
    return PublishingError(
        _("The exporter of '{model}' crashed ({cause}).", model=name, cause=cause),
        _("Try again; if it crashes again, show an admin what it said last:") + f"\n{_last_words(log)}",
    )


def _last_words(log: str) -> str:
    """Return where a crash happened, as Python's faulthandler tells it, else the log's last lines."""
    _before, fault, place = log.strip().rpartition("Fatal Python error")
    lines = f"{fault}{place}".splitlines()[:_LOG_LINES] if fault else place.splitlines()[-_LOG_LINES:]
    return "\n".join(lines)
