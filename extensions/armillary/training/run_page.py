"""A run as HTML: status, progress, curves, why it ended, and what the ranks printed."""

from __future__ import annotations

from html import escape
from pathlib import Path

from armillary_kernels.texts import translator

from armillary.training.curves import plot
from armillary.training.run import ENDED, Progress, Run

_ = translator(__file__)

STYLE = (Path(__file__).parent / "static" / "run_view.css").read_text(encoding="utf-8")

#: Log lines on the page.
LINES_SHOWN = 200


def status_word(status: str) -> str:
    """Return a status in the person's language."""
    words = {
        "waiting": _("waiting"),
        "running": _("running"),
        "finished": _("finished"),
        "failed": _("failed"),
        "cancelled": _("cancelled"),
    }
    return words[status]


def parts(run: Run) -> dict[str, str]:
    """Return all of a run, in order."""
    return {
        "head": _head(run),
        "line": _progress_line(run.progress),
        "problem": _problem(run),
        "plots": _plots(run),
        "logs": _logs(run),
    }


def static_page(run: Run) -> str:
    """Return a page that stays as it is in a saved notebook."""
    return f'<style>{STYLE}</style><section class="arm-train">{"".join(parts(run).values())}</section>'


def _head(run: Run) -> str:
    status = f'<span class="arm-train-status" data-status="{run.status}">{escape(status_word(run.status))}</span>'
    plan = run.plan
    facts = _(
        "{dataset} · {framework} · {workers} workers · batch {batch}",
        dataset=plan.dataset,
        framework={"torch": "PyTorch", "tensorflow": "TensorFlow"}[plan.framework],
        workers=plan.workers,
        batch=plan.batch_size,
    )
    return f'<div class="arm-train-head"><h3>{escape(run.id)}</h3>{status}<span>{escape(facts)}</span></div>'


def _progress_line(progress: Progress) -> str:
    label = escape(_("Progress"), quote=True)
    bar = f'<progress max="{progress.steps}" value="{progress.step}" aria-label="{label}"></progress>'
    parts = [_("Epoch {epoch} of {epochs}", epoch=progress.epoch, epochs=progress.epochs)]
    if progress.loss is not None and progress.accuracy is not None:
        parts.append(
            _("loss {loss}, accuracy {accuracy}", loss=f"{progress.loss:.4f}", accuracy=f"{progress.accuracy:.1%}")
        )
    if progress.seconds_left is not None:
        parts.append(_("{time} left", time=duration(progress.seconds_left)))
    elif progress.status not in ENDED and progress.note:
        parts.append(progress.note)
    return f'<div class="arm-train-line">{bar}<span>{escape(" · ".join(parts))}</span></div>'


def duration(seconds: float) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _problem(run: Run) -> str:
    if run.error is None:
        return ""
    remedy, _space, details = run.error.remedy.partition("\n\n")
    more = f"<pre>{escape(details)}</pre>" if details else ""
    return (
        f'<div class="arm-train-problem" role="alert"><p><strong>{escape(run.error.what)}</strong></p>'
        f"{escape(remedy)}{more}</div>"
    )


def _plots(run: Run) -> str:
    metrics, epochs = run.metrics, run.epochs
    if metrics.empty:
        return ""
    names, axis = (_("training"), _("validation")), _("epoch")
    figures = []
    for title, column, share in ((_("Loss"), "loss", False), (_("Accuracy"), "accuracy", True)):
        done = metrics.step / run.plan.steps_per_epoch
        training = list(zip(done, metrics[column], strict=True))
        checked = f"validation_{column}"
        validation = list(zip(epochs.epoch, epochs[checked], strict=True)) if checked in epochs else []
        figures.append(plot(title, training, validation, epochs=run.plan.epochs, names=names, axis=axis, share=share))
    return f'<div class="arm-train-plots">{"".join(figures)}</div>'


def _logs(run: Run) -> str:
    lines = run.logs.splitlines()[-LINES_SHOWN:]
    if not lines:
        return ""
    summary = escape(_("What the ranks printed ({n} lines)", n=len(lines)))
    text = escape("\n".join(lines))
    return f'<details class="arm-train-logs"><summary>{summary}</summary><pre>{text}</pre></details>'
