"""Run a notebook with parameters; keep the executed copy whatever happens."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from armillary_kernels.texts import translator
from armillary_kernels.wishes import GpuWish, GpuWishError

from armillary.errors import JobError
from armillary.jobs import parameters as parameters_
from armillary.jobs.result import JobFailure, JobResult, JobStopped, Status, values_shown

if TYPE_CHECKING:
    import nbformat

_ = translator(__file__)

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TRACEBACK_LINES = 12
#: A kernel may have to wait for its GPU, and imports of torch are slow on a busy machine.
_KERNEL_START_SECONDS = 300


def parameters(notebook: str | Path) -> dict[str, parameters_.Parameter]:
    """Return the parameters that a notebook declares, by name.

    Raises
    ------
    JobError
        If the notebook cannot be read.
    """
    return parameters_.declared(_read(Path(notebook)))


def run(
    notebook: str | Path,
    parameters: Mapping[str, object] | None = None,
    output: str | Path | None = None,
    *,
    kernel: str | None = None,
    gpus: int | None = None,
    gpu_memory: str | None = None,
    wait_seconds: float | None = None,
    progress: TextIO | None = None,
) -> JobResult:
    """Run a notebook with parameters, as papermill does, in the current folder.

    Parameters
    ----------
    notebook
        The notebook; it is not changed.
    parameters
        Values for variables of its cell tagged ``parameters``.
    output
        Where the executed copy goes. Default: ``<notebook>-<date>-<time>.ipynb`` in the current folder.
    kernel
        Name of the kernelspec to use instead of the notebook's own.
    gpus
        GPUs that its kernel asks for, instead of what the kernelspec says; 0 for none.
    gpu_memory
        A share of one GPU instead, such as ``"4GiB"``.
    wait_seconds
        How long it waits for them in the queue at most; by default as long as it takes.
    progress
        A stream to report progress on: a bar if it is a terminal, else a line per cell.

    Returns
    -------
    JobResult
        Also when a cell failed: see its ``status`` and ``failure``, or call `JobResult.raise_for_failure`.

    Raises
    ------
    JobError
        Before anything runs: the notebook cannot be read, a parameter is unknown or of the wrong type, there is no
        such kernel, or the output cannot be written there.
    JobStopped
        On Ctrl-C. The kernel has been stopped, and the output notebook holds what ran until then.
    """
    source = Path(notebook)
    document = _read(source)
    values = dict(parameters or {})
    parameters_.check(values, parameters_.declared(document), source.name)
    _check_kernel(kernel or document.metadata.get("kernelspec", {}).get("name", ""), source)
    target = _output_path(source, output)
    _keep(document, target)
    environment = _kernel_environment(source, _gpus_wanted(gpus, gpu_memory), wait_seconds)
    with _waiting_told_on(progress):
        return _execute(source, target, values, kernel, progress, environment)


def _gpus_wanted(gpus: int | None, gpu_memory: str | None) -> str | None:
    """Return a number of GPUs or a size of memory, as the kernel's provisioner reads it."""
    if gpu_memory is None:
        return None if gpus is None else str(gpus)
    if gpus is not None:
        raise JobError(_("Both a number of GPUs and a share of one were given."), _("Give one of them."))
    try:
        wish = GpuWish.parse(gpu_memory)
    except GpuWishError as error:
        raise JobError(error.what, error.remedy) from None
    if wish.memory is None:
        raise JobError(_("'{text}' is no size of memory.", text=gpu_memory), _("Write 4GiB or 500MiB."))
    return gpu_memory


def _kernel_environment(notebook: Path, gpus: str | None, wait_seconds: float | None) -> dict[str, str]:
    """Return what tells the provisioner of the job: the lease is the job's, not the notebook's that may have run it."""
    from armillary_kernels.provisioner import GPUS_VARIABLE, PURPOSE_VARIABLE, WAIT_VARIABLE  # with all of Jupyter's

    given = {GPUS_VARIABLE: gpus, WAIT_VARIABLE: wait_seconds}
    wishes = {name: str(value) for name, value in given.items() if value is not None}
    return {"JPY_SESSION_NAME": str(notebook), PURPOSE_VARIABLE: "job", **wishes}


@contextmanager
def _waiting_told_on(stream: TextIO | None) -> Iterator[None]:
    """Say on ``stream`` when the job waits for a GPU, and who holds it."""
    if stream is None:
        yield
        return
    log, handler = logging.getLogger("armillary_kernels.waiting"), logging.StreamHandler(stream)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _read(path: Path) -> nbformat.NotebookNode:
    import nbformat  # seconds, for its JSON schemas

    try:
        document = nbformat.read(path, as_version=4)
        nbformat.validate(document)
    except FileNotFoundError:
        raise JobError(_("There is no notebook {path}.", path=path), _("Check the path.")) from None
    except (OSError, ValueError, nbformat.ValidationError) as error:
        first = str(error).splitlines()[0]
        what = _("{path} cannot be read as a notebook: {reason}.", path=path, reason=first)
        raise JobError(what, _("Open it in JupyterLab and save it.")) from None
    return document


def _check_kernel(name: str, notebook: Path) -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    known = sorted(KernelSpecManager().find_kernel_specs())
    if not name:
        raise JobError(
            _("{notebook} does not say which kernel it needs.", notebook=notebook.name),
            _("Name one: {names}.", names=", ".join(known)),
        )
    if name not in known:
        raise JobError(
            _("{notebook} needs the kernel '{name}'.", notebook=notebook.name, name=name),
            _("There are: {names}.", names=", ".join(known)),
        )


def _output_path(notebook: Path, output: str | Path | None) -> Path:
    now = datetime.now().astimezone()
    target = Path(output) if output else Path(f"{notebook.stem}-{now:%Y%m%d-%H%M%S}.ipynb")
    target = target.absolute()
    if not target.parent.is_dir():
        what = _("There is no folder {folder} for the output.", folder=target.parent)
        raise JobError(what, _("Make it, or choose another with -o."))
    if target.suffix != ".ipynb":
        raise JobError(_("The output {name} is no notebook's name.", name=target.name), _("Give it the ending .ipynb."))
    if target.exists() and target.samefile(notebook):
        raise JobError(_("The output would overwrite the notebook itself."), _("Choose another name with -o."))
    return target


def _keep(document: nbformat.NotebookNode, target: Path) -> None:
    """Write the output before anything runs: an unwritable place is found now, not after hours of work."""
    import nbformat  # seconds, for its JSON schemas

    try:
        nbformat.write(document, target)
    except OSError as error:
        what = _("The output {path} cannot be written: {reason}.", path=target, reason=error.strerror)
        raise JobError(what, _("Choose another with -o.")) from None


def _execute(
    source: Path,
    target: Path,
    values: dict[str, object],
    kernel: str | None,
    progress: TextIO | None,
    environment: dict[str, str],
) -> JobResult:
    import papermill
    from nbclient.exceptions import DeadKernelError

    from armillary.jobs import engine

    started = time.monotonic()
    status: Status = "finished"
    failure: JobFailure | None = None
    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(target),
            values,
            engine_name=engine.NAME,
            kernel_name=kernel,
            start_timeout=_KERNEL_START_SECONDS,
            progress_bar=False,
            progress=progress,
            environment=environment,
        )
    except papermill.PapermillExecutionError as error:
        status, failure = "failed", _failure_of_cell(error)
    except KeyboardInterrupt:
        status = "stopped"
    except (DeadKernelError, RuntimeError, OSError) as error:
        status, failure = "failed", JobFailure(_running_cell(target), type(error).__name__, str(error))
    result = _result(source, target, values, status, failure, time.monotonic() - started)
    if status == "stopped":
        raise JobStopped(result)
    return result


def _literal(path: Path) -> str:
    """Escape braces: papermill formats paths with the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _failure_of_cell(error: object) -> JobFailure:
    lines = _COLOURS.sub("", "\n".join(getattr(error, "traceback", []))).splitlines()
    return JobFailure(
        cell=getattr(error, "exec_count", 0) or 0,
        name=getattr(error, "ename", ""),
        message=_COLOURS.sub("", getattr(error, "evalue", "")),
        traceback=tuple(lines[-_TRACEBACK_LINES:]),
    )


def _running_cell(target: Path) -> int:
    import nbformat

    statuses = _statuses(nbformat.read(target, as_version=4))
    return statuses.index("failed") + 1 if "failed" in statuses else 0


def _statuses(document: nbformat.NotebookNode) -> list[str]:
    code = (cell for cell in document.cells if cell.cell_type == "code")
    return [cell.metadata.get("papermill", {}).get("status", "pending") for cell in code]


def _result(
    source: Path,
    target: Path,
    values: Mapping[str, object],
    status: Status,
    failure: JobFailure | None,
    seconds: float,
) -> JobResult:
    import nbformat

    executed = nbformat.read(target, as_version=4)
    statuses = _statuses(executed)
    return JobResult(
        notebook=source,
        output=target,
        parameters=values,
        status=status,
        cells_run=statuses.count("completed"),
        cells=len(statuses),
        seconds=seconds,
        values=values_shown(executed),
        failure=failure,
    )


def given_values(
    notebook: str | Path, texts: Iterable[tuple[str, str]], file: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return values from a command line and a YAML file in the types that the notebook declares; the former win."""
    known = parameters(notebook)
    return parameters_.read_texts([*(file or {}).items(), *texts], known)
