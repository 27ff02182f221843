"""The panel that publishes a model: name it, say who may use it, press one button, follow the link."""

from __future__ import annotations

import re
import threading
from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.errors import ArmillaryError
from armillary.form import field, form
from armillary.publishing.apps_client import App
from armillary.publishing.publish import Step, publish
from armillary.training.places import has_gpus

_ = translator(__file__)

_STEPS: tuple[Step, ...] = ("exporting", "uploading", "starting", "ready")


class PublishPanel(widgets.VBox):
    """Everything here is a call of `publish`.

    Parameters
    ----------
    model
        A `TrainedModel`, or a `Run` that has finished.
    data
        The dataset whose test examples check the export; default: the one that the model was trained on.

    Attributes
    ----------
    app
        The app, once it serves.
    error
        Why the last attempt failed, or None.
    """

    def __init__(self, model: Any, *, data: Any = None) -> None:
        self.app: App | None = None
        self.error: ArmillaryError | None = None
        self._model = model
        self._data = data
        self._thread: threading.Thread | None = None
        self._build_form(str(getattr(model, "name", "") or ""))
        self.button = widgets.Button(description=_("Publish"), button_style="primary", icon="cloud-upload")
        self.button.on_click(self._publish)
        self.progress = widgets.HTML()
        self.result = widgets.HTML()
        fields = (self.name, self.title, self.description, self.access, self.people, self.groups, self.gpu)
        super().__init__((form(*fields), self.button, self.progress, self.result))

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the publishing under way has ended."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _build_form(self, name: str) -> None:
        self.name = _field(widgets.Text, _("Name, part of the address"), value=_app_name(name))
        self.title = _field(widgets.Text, _("Title"), value=name.replace("-", " ").capitalize())
        shown = _("Shown on the app's page")
        self.description = _field(widgets.Textarea, _("What it does"), rows=2, placeholder=shown)
        choices = [
            (_("Only me"), "me"),
            (_("Everyone who can sign in"), "everyone"),
            (_("People and groups that I name"), "named"),
        ]
        self.access = _field(widgets.Dropdown, _("Who may use it"), options=choices)
        self.access.observe(self._access_chosen, "value")
        self.people = _field(widgets.Text, _("People"), placeholder="bob, eve")
        self.groups = _field(widgets.Text, _("Groups"), placeholder="lab")
        self._access_chosen()
        self.gpu = _field(widgets.Checkbox, _("Runs on a GPU of its own"), value=False)
        self.gpu.layout.display = "flex" if has_gpus() else "none"

    def _access_chosen(self, _change: Any = None) -> None:
        shown = "flex" if self.access.value == "named" else "none"
        self.people.layout.display = self.groups.layout.display = shown

    def _chosen_access(self) -> Any:
        if self.access.value != "named":
            return self.access.value
        return {"users": _names(self.people.value), "groups": _names(self.groups.value)}

    def _publish(self, _button: Any = None) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self.button.disabled = True
        self.result.value = ""
        self.error = None
        options = {
            "name": self.name.value.strip(),
            "title": self.title.value.strip() or None,
            "description": self.description.value.strip(),
            "access": self._chosen_access(),
            "gpus": int(self.gpu.value),
        }
        self._thread = threading.Thread(target=self._run, args=(options,), daemon=True)
        self._thread.start()

    def _run(self, options: dict[str, Any]) -> None:
        try:
            self.app = publish(self._model, data=self._data, on_step=self._show_step, **options)
            self.result.value = _success(self.app)
        except ArmillaryError as error:
            self.error = error
            self._fail(error.what, error.remedy)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}", "")
            raise
        finally:
            self.button.disabled = False

    def _show_step(self, step: Step) -> None:
        texts = {
            "exporting": _("Exporting to ONNX and checking it against the model"),
            "uploading": _("Saving the release"),
            "starting": _("Starting the app"),
            "ready": _("Ready"),
        }
        now = _STEPS.index(step)
        rows = []
        for i, each in enumerate(_STEPS):
            mark = "✓" if i < now or step == "ready" else "▸" if i == now else "○"
            current = ' aria-current="step"' if i == now else ""
            weight = "600" if i == now and step != "ready" else "400"
            rows.append(f'<li{current} style="font-weight:{weight}">{mark} {escape(texts[each])}</li>')
        style = "list-style:none;padding:0;margin:8px 0;line-height:1.7"
        self.progress.value = f'<ol role="status" aria-live="polite" style="{style}">{"".join(rows)}</ol>'

    def _fail(self, what: str, remedy: str) -> None:
        remedy, _newline, log = remedy.partition("\n")
        style = "border-left:4px solid #b71c1c;padding:8px 14px;margin:8px 0;overflow-wrap:anywhere"
        detail = f"<pre style='white-space:pre-wrap;max-height:220px;overflow:auto'>{escape(log)}</pre>" if log else ""
        self.result.value = (
            f'<div role="alert" style="{style}"><strong>⚠ {escape(_("Not published"))}</strong><br>'
            f"{escape(what)} {escape(remedy)}{detail}</div>"
        )


def _field(kind: Any, description: str, **options: Any) -> Any:
    return field(kind, description, label="185px", width="520px", **options)


def _success(app: App) -> str:
    style = "border-left:4px solid #2e7d32;padding:8px 14px;margin:8px 0;overflow-wrap:anywhere;line-height:1.6"
    link = f'<a href="{escape(app.path)}" target="_blank" style="text-decoration:underline">{escape(app.url)}</a>'
    published = _("“{title}” is published (release {release}).", title=app.title, release=app.release)
    return (
        f'<div role="status" style="{style}"><strong>✓ {escape(published)}</strong><br>'
        f"{escape(_('Page'))}: {link}<br>{escape(_('For programs'))}: <code>{escape(app.api_url)}</code></div>"
    )


def _app_name(name: str) -> str:
    """Return the nearest name that an app can have."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:27].strip("-")


def _names(text: str) -> list[str]:
    return [name for name in re.split(r"[\s,;，、]+", text) if name]
