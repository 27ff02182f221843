"""The panel for training: choose data, network, workers and epochs; start; watch; cancel."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.errors import ArmillaryError
from armillary.form import field, form
from armillary.training import models
from armillary.training.fitting import fit
from armillary.training.places import has_gpus
from armillary.training.run import ENDED, Run
from armillary.training.run_page import STYLE
from armillary.training.run_view import RunView

_ = translator(__file__)

_FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "TensorFlow"}


class TrainingPanel(widgets.VBox):
    """Everything here is a call of `fit` with the values of the controls.

    Parameters
    ----------
    data
        The dataset, or its reference, that is chosen at first.
    model
        A network of one's own to offer beside the ready ones.
    cluster
        Where to train; default: the person's own cluster.

    Attributes
    ----------
    run
        The run that was started last, or None.
    """

    def __init__(self, data: Any = None, *, model: Any = None, cluster: Any = None) -> None:
        self.run: Run | None = None
        self._own_model = model
        self._cluster = cluster
        self._build_controls()
        self.message = widgets.HTML()
        self._place = widgets.VBox()
        rows = (
            (self.dataset, self.reload),
            (self.model, self.framework),
            (self.workers, self.epochs),
            (self.batch_size, self.learning_rate),
            *([(self.gpus,)] if has_gpus() else []),
        )
        fields = form(*(widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows))
        super().__init__((fields, self.start, self.message, self._place))
        self._list_datasets(getattr(data, "reference", data))

    def _build_controls(self) -> None:
        self.dataset = field(widgets.Dropdown, _("Dataset"))
        self.reload = widgets.Button(description=_("List again"), layout={"width": "auto"})
        self.reload.on_click(lambda _button: self._list_datasets(self.dataset.value))
        own = [(_("my own ({name})", name=type(self._own_model).__name__), "")] if self._own_model is not None else []
        self.model = field(widgets.Dropdown, _("Network"), options=[*own, *((name, name) for name in models.NAMES)])
        offered = [(_FRAMEWORKS[name], name) for name in models.installed_frameworks()]
        self.framework = field(widgets.Dropdown, _("Framework"), options=offered, disabled=bool(own))
        self.model.observe(self._model_chosen, "value")
        self.workers = field(widgets.BoundedIntText, _("Workers"), value=2, min=1, max=1024)
        self.epochs = field(widgets.BoundedIntText, _("Epochs"), value=5, min=1, max=100_000)
        self.batch_size = field(widgets.BoundedIntText, _("Batch size"), value=64, min=1, max=10**6)
        self.batch_size.tooltip = _("Examples of one step, over all workers; a multiple of their number")
        self.gpus = field(widgets.Checkbox, _("One GPU for each worker"), value=False)
        self.learning_rate = field(widgets.FloatText, _("Learning rate"), value=2e-3, step=1e-4)
        self.start = widgets.Button(description=_("Start training"), button_style="primary", icon="play")
        self.start.layout.margin = "6px 2px 10px"
        self.start.on_click(self._start)

    def _model_chosen(self, _change: Any) -> None:
        """Take the choice of framework away for a network of one's own, which has one."""
        self.framework.disabled = self.model.value == ""

    def _list_datasets(self, chosen: str | None) -> None:
        from armillary import datasets

        newest = {info.name: info.reference for info in datasets.list()}
        chosen = newest.get(chosen or "", chosen)
        references = list(newest.values())
        if chosen and chosen not in references:  # an older version
            references.append(chosen)
        self.dataset.options = references
        self.dataset.value = chosen or next(iter(references), None)
        self.start.disabled = not references
        self.message.value = "" if references else _information(_("No dataset yet: make one with datasets.panel()."))

    def _start(self, _button: Any) -> None:
        """Start a run, or say in words why it cannot be."""
        self.message.value = _information(_("Checking the network with a few examples …"))
        self.start.disabled = True
        try:
            self.run = self._fit()
        except ArmillaryError as error:
            self._refuse(error.what, error.remedy)
            return
        except Exception as error:  # a network of one's own can fail in any way
            self._refuse(f"{type(error).__name__}: {error}")
            return
        self.message.value = ""
        self._place.children = (RunView(self.run),)
        self.run.listen(self._allow_next)
        self._allow_next()

    def _refuse(self, what: str, remedy: str = "") -> None:
        self.message.value = _problem(what, remedy)
        self.start.disabled = False

    def _fit(self) -> Run:
        own = self.model.value == ""
        return fit(
            self._own_model if own else self.model.value,
            self.dataset.value,
            **{"gpus" if self.gpus.value else "workers": self.workers.value},
            epochs=self.epochs.value,
            batch_size=self.batch_size.value,
            learning_rate=self.learning_rate.value,
            framework=None if own else self.framework.value,
            cluster=self._cluster,
        )

    def _allow_next(self) -> None:
        """One run at a time: Start is there again when it has ended."""
        ended = self.run is not None and self.run.status in ENDED
        if self.start.disabled == ended:
            self.start.disabled = not ended


def _information(text: str) -> str:
    return f'<p role="status">{escape(text)}</p>'


def _problem(what: str, remedy: str) -> str:
    body = f"<p><strong>{escape(what)}</strong></p>{escape(remedy)}"
    return (
        f'<style>{STYLE}</style><div class="arm-train"><div class="arm-train-problem" role="alert">{body}</div></div>'
    )


def panel(data: Any = None, *, model: Any = None, cluster: Any = None) -> TrainingPanel:
    """Return the training panel; see `TrainingPanel`."""
    return TrainingPanel(data, model=model, cluster=cluster)
