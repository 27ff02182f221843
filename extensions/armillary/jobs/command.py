"""``armillary run``: a notebook with parameters from the shell.

Exit codes: 0 the notebook ran to its end; 1 it failed, the output is kept; 2 wrong parameters or usage, nothing
ran; 3 no GPU could be had in time, nothing ran; 130 stopped by Ctrl-C or SIGTERM, the output is kept.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from armillary_kernels.descriptions import WITHOUT_GPU
from armillary_kernels.texts import translator

from armillary.errors import JobError

if TYPE_CHECKING:
    from armillary.jobs.result import JobResult

_ = translator(__file__)

FAILED, WRONG_USAGE, NO_GPU, STOPPED = 1, 2, 3, 130


@click.command()
@click.argument("notebook", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-p", "--parameter", "texts", nargs=2, multiple=True, metavar="NAME VALUE", help="Set one parameter.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Read parameters from a YAML file; -p wins.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the executed notebook goes.")
@click.option("--kernel", metavar="NAME", help="Use this kernel instead of the notebook's own.")
@click.option("--gpus", type=click.IntRange(min=0), metavar="N", help="GPUs for its kernel; default: the kernel's own.")
@click.option("--gpu-memory", metavar="SIZE", help="A share of one GPU instead, such as 4GiB.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait for a free GPU at most.",
)
@click.option("--list", "listing", is_flag=True, help="Show the notebook's parameters and run nothing.")
def run(
    notebook: Path,
    texts: tuple[tuple[str, str], ...],
    file: Path | None,
    output: Path | None,
    kernel: str | None,
    gpus: int | None,
    gpu_memory: str | None,
    wait: float | None,
    listing: bool,
) -> None:
    """Run NOTEBOOK with parameters and keep the executed copy, also when it fails.

    Parameters are checked by name and type against the notebook before anything runs. Exit code 0: finished;
    1: the notebook failed; 2: wrong parameters or usage; 3: no GPU could be had in time; 130: stopped.
    """
    from armillary import jobs
    from armillary.jobs.execution import given_values

    try:
        if listing:
            _list(notebook)
            return
        values = given_values(notebook, texts, _read_yaml(file) if file else None)
        with _terminate_as_interrupt():
            result = jobs.run(
                notebook,
                values,
                output,
                kernel=kernel,
                gpus=gpus,
                gpu_memory=gpu_memory,
                wait_seconds=wait,
                progress=sys.stderr,
            )
    except JobError as error:
        click.echo(_("Error: {error}", error=error), err=True)
        sys.exit(WRONG_USAGE)
    except jobs.JobStopped as stopped:
        _finish(stopped.result, STOPPED)
    _finish(result, _exit_code(result))


def _exit_code(result: JobResult) -> int:
    if result.failure is None:
        return 0
    return NO_GPU if result.failure.name in WITHOUT_GPU else FAILED


def _finish(result: JobResult, code: int) -> NoReturn:
    click.echo(summary(result))
    sys.exit(code)


def summary(result: JobResult) -> str:
    """Return what a person wants to know of a job: how far, how long, what came out, why it failed, where it is."""
    lines = [
        {
            "finished": _("Finished: {notebook}", notebook=result.notebook.name),
            "failed": _("Failed: {notebook}", notebook=result.notebook.name),
            "stopped": _("Stopped: {notebook}", notebook=result.notebook.name),
        }[result.status],
        _("  {run} of {all} cells in {seconds:.1f} s", run=result.cells_run, all=result.cells, seconds=result.seconds),
        *(f"  {name}: {value}" for name, value in result.values.items()),
    ]
    if failure := result.failure:
        where = _("cell {number}", number=failure.cell) if failure.cell else _("before the first cell")
        lines += [_("  {error} ({where})", error=failure, where=where), *(f"    {line}" for line in failure.traceback)]
    return "\n".join([*lines, _("  output: {path}", path=result.output)])


def _list(notebook: Path) -> None:
    from armillary import jobs

    for parameter in jobs.parameters(notebook).values():
        described = f"{parameter.name}: {parameter.type_name} = {parameter.default}"
        click.echo(f"{described:<40}  {parameter.help}".rstrip())


def _read_yaml(path: Path) -> Mapping[str, object]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        what = _("{path} cannot be read: {reason}.", path=path, reason=error.strerror)
        raise JobError(what, _("Check the path.")) from None
    except yaml.YAMLError as error:
        what = _("{path} is not valid YAML: {reason}.", path=path, reason=" ".join(str(error).split()))
        raise JobError(what, _("Correct it.")) from None
    if not isinstance(values, dict):
        raise JobError(_("{path} does not hold parameters.", path=path), _("Write one `name: value` on each line."))
    return {str(name): value for name, value in values.items()}


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a job as Ctrl-C does: kernel stopped, output kept."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
