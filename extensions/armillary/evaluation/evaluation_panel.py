"""The panel of an evaluation: its plots, and its mistakes to browse by class."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from armillary_kernels.texts import translator

from armillary.evaluation import page
from armillary.evaluation.result import Evaluation

_ = translator(__file__)


class EvaluationPanel(widgets.VBox):
    """Figures, confusion matrix, scores per class, and the mistakes of any pair of classes.

    Where no kernel answers (nbconvert, a shared notebook) the static page is shown instead.
    """

    def __init__(self, evaluation: Evaluation, mistakes: int = 24) -> None:
        self.evaluation = evaluation
        choices = [(_("All classes"), ""), *((name, name) for name in evaluation.class_names)]
        style = {"description_width": "initial"}
        self.true = widgets.Dropdown(options=choices, value="", description=_("True class"), style=style)
        self.predicted = widgets.Dropdown(options=choices, value="", description=_("Taken for"), style=style)
        self.limit = widgets.BoundedIntText(mistakes, min=1, max=200, description=_("Show at most"), style=style)
        self._plots = widgets.HTML(page.styled(self._plots_html()))
        self._mistakes = widgets.HTML()
        controls = (self.true, self.predicted, self.limit)
        for control in controls:
            control.layout.width = "220px"
            control.observe(self._show_mistakes, "value")
        box = widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__((self._plots, box, self._mistakes))
        self._show_mistakes()

    def _plots_html(self) -> str:
        plots = page.confusion_plot(self.evaluation) + page.class_plot(self.evaluation)
        return f'{page.figures(self.evaluation)}<div class="arm-eval-plots">{plots}</div>'

    def _show_mistakes(self, _change: Any = None) -> None:
        every = self.evaluation.mistakes(
            len(self.evaluation), true=self.true.value or None, predicted=self.predicted.value or None
        )
        shown = every[: self.limit.value]
        count = _("{shown} of {n} mistakes shown.", shown=len(shown), n=len(every))
        section = page.mistakes_section(self.evaluation, shown)
        self._mistakes.value = page.styled(f'{section}<p role="status">{count}</p>')

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**options)
        return {**bundle, "text/html": page.page(self.evaluation)}
