"""Publishing, and what becomes of published apps."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from armillary_kernels.texts import translator

from armillary.errors import PublishingError
from armillary.publishing.apps_client import App, AppsClient, check_name
from armillary.publishing.export import Export, export_onnx, trained_model

_ = translator(__file__)

Step = Literal["exporting", "uploading", "starting", "ready"]

#: Seconds that an app may take to start.
_PATIENCE = 240.0

_NOTEBOOKS = {"image": "image_classifier.ipynb", "table": "table_form.ipynb"}


def publish(
    model: Any,
    *,
    name: str,
    access: Any = "me",
    data: Any = None,
    notebook: str | Path | None = None,
    title: str | None = None,
    description: str = "",
    gpus: int = 0,
    on_step: Callable[[Step], None] = lambda step: None,
) -> App:
    """Publish a model as an app, or the next release of one.

    Parameters
    ----------
    model
        A `TrainedModel`, or a `Run` that has finished.
    name
        Small letters, digits and hyphens; part of the app's address.
    access
        Who may open it besides you: ``"me"`` (nobody), ``"everyone"`` who can sign in, or
        ``{"users": ["bob"], "groups": ["lab"]}``.
    data
        The dataset whose test examples check the export; default: the one that the model was trained on.
    notebook
        The app's page; default: the one for the model's kind of input.
    title, description
        What the page and the list of apps show.
    gpus
        1 for an app that leases a GPU from the hub's pool while it runs; when none is free its visitors wait, and see
        at which place. ONNX Runtime must have been installed for GPUs there.
    on_step
        Called at each step of the way.

    Returns
    -------
    App
        The running app, with its ``url`` and ``api_url``.

    Raises
    ------
    PublishingError
        When the model cannot be exported or checked, the name is taken, or the app does not start; an earlier
        release then still serves.
    """
    check_name(name)
    client = AppsClient()
    trained = trained_model(model)
    page = _notebook(notebook, trained.input.kind)
    _warn_of_left_out(trained)
    with tempfile.TemporaryDirectory(prefix="armillary-publish-") as folder:
        on_step("exporting")
        export = export_onnx(trained, Path(folder) / "model.onnx", data=data)
        on_step("uploading")
        about = _about(trained, export, title or name, description) | ({"gpus": gpus} if gpus else {})
        app = client.publish(name, about, export.path, page, access)
    on_step("starting")
    app = _settled(client, app)
    on_step("ready")
    return app


def apps() -> list[App]:
    """Return the apps that you may open, your own among them."""
    return AppsClient().all()


def unpublish(name: str) -> None:
    """Take an app down: nobody can open it any more; its releases are kept in the deployment's archive.

    Raises
    ------
    PublishingError
        When there is no such app, or it is not yours.
    """
    AppsClient().unpublish(name)


def rollback(name: str, release: int | None = None) -> App:
    """Let an earlier release of an app serve again (default: the one before the current one).

    Raises
    ------
    PublishingError
        When there is no such release, or the app is not yours.
    """
    client = AppsClient()
    return _settled(client, client.rollback(name, release))


def change_access(name: str, access: Any) -> App:
    """Change who may open an app; see `publish`.

    Raises
    ------
    PublishingError
        When the app is not yours, or a person or group is not known.
    """
    return AppsClient().change_access(name, access)


def _about(model: Any, export: Export, title: str, description: str) -> dict[str, Any]:
    from armillary.training.frameworks import LAYOUTS

    return {
        "title": title,
        "description": description,
        "class_names": [str(name) for name in model.class_names],
        "input": model.input.to_json(),
        "layout": LAYOUTS[model.framework],
        "framework": model.framework,
        "dataset": model.dataset or "",
        "run_id": model.run_id,
        "difference": export.difference,
    }


def _warn_of_left_out(model: Any) -> None:
    """Say which steps made the model's examples but are not done with what visitors give."""
    preparation = model.input.preparation
    if preparation is not None and preparation.left_out:
        text = _(
            "Functions of one's own do not travel to the app: {steps}. Visitors must give input on which these steps "
            "have been done.",
            steps="; ".join(preparation.left_out),
        )
        warnings.warn(text, UserWarning, stacklevel=3)


def _notebook(given: str | Path | None, kind: str) -> Path:
    if given is None:
        return Path(sys.prefix) / "share" / "armillary" / "notebooks" / "apps" / _NOTEBOOKS[kind]
    path = Path(given)
    if not path.is_file():
        raise PublishingError(_("There is no notebook {path}.", path=path), _("Give the path of the app's notebook."))
    return path


def _settled(client: AppsClient, app: App) -> App:
    """Wait until the app serves; raise what went wrong otherwise."""
    deadline = time.monotonic() + _PATIENCE
    while app.state == "starting":
        if time.monotonic() > deadline:
            what = _("App '{name}' has not started in {seconds:.0f} s.", name=app.name, seconds=_PATIENCE)
            raise PublishingError(what, _("See the Apps page."))
        time.sleep(0.5)
        app = client.get(app.name)
    if app.failure is not None:
        what = app.failure["what"]
        if app.state == "ready":
            what += " " + _("Release {n} still serves.", n=app.release)
        log = f"\n{app.failure['log']}" if app.failure.get("log") else ""
        raise PublishingError(what, f"{app.failure['remedy']}{log}")
    return app
