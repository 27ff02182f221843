"""What the pages of apps are: an input, and below it the model's most likely classes."""

from __future__ import annotations

import logging
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets
from armillary_kernels.texts import LANGUAGES, translator

from armillary.errors import InferenceError
from armillary.inference.own_app import own_endpoint, own_release
from armillary.inputs.input_spec import InputSpec

_ = translator(__file__)
_STATIC = Path(__file__).parent / "static"

#: Classes shown.
TOP = 5


class UnusableInputError(ValueError):
    """What a visitor gave cannot be used; ``args[0]`` is the name of the page's text that says so."""


class AppPage(anywidget.AnyWidget):
    """The widget of a page; the kinds of input are its subclasses."""

    _esm = _STATIC / "app_page.js"
    _css = _STATIC / "app_page.css"

    #: File of the input's own script; ``static/app_page.js`` says what it exports.
    input_file: ClassVar[str]

    input_module = traitlets.Unicode().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)

    def __init__(self, **options: Any) -> None:
        self._release = own_release()
        self._input = InputSpec.from_json(self._release.input)
        texts = {language: {**answer_texts(language), **self.input_texts(language)} for language in LANGUAGES}
        module = (_STATIC / self.input_file).read_text(encoding="utf-8")
        super().__init__(texts=texts, input_module=module, **options)
        self.on_msg(self._answer)

    @staticmethod
    @abstractmethod
    def input_texts(language: str) -> dict[str, str]:
        """Return the texts of the input, ``working`` among them."""

    @abstractmethod
    def raw_examples(self, content: dict[str, Any], buffers: list[memoryview]) -> npt.NDArray[Any]:
        """Return what a visitor gave, as the one raw example ``(1, *shape)``.

        Raises
        ------
        UnusableInputError
            When it cannot be used.
        """

    def most_likely(self, raw: npt.NDArray[Any]) -> list[dict[str, Any]]:
        """Return the most likely classes of the one raw example, best first, with their probabilities.

        Raises
        ------
        InferenceError
            When the endpoint does not answer.
        """
        probabilities = own_endpoint().predict(self._input.prepare(raw, self._release.layout))[0]
        best = np.argsort(-probabilities, kind="stable")[:TOP]
        return [{"name": self._release.class_names[i], "probability": float(probabilities[i])} for i in best]

    def _answer(self, _widget: Any, content: Any, buffers: list[memoryview]) -> None:
        if not isinstance(content, dict):
            return
        answer: dict[str, Any] = {"id": content.get("id")}
        try:
            answer["classes"] = self.most_likely(self.raw_examples(content, buffers))
        except UnusableInputError as error:
            answer["error"] = error.args[0]
        except InferenceError:
            logging.getLogger("armillary.app").exception("The endpoint did not answer")
            answer["error"] = "failed"
        self.send(answer)


def answer_texts(language: str) -> dict[str, str]:
    """Return the texts that every page has."""
    return {
        "result": _("Result", language=language),
        "most_likely": _("Most likely: {name}, {percent} percent.", language=language),
        "failed": _("The model could not answer. Try again in a moment.", language=language),
        "disconnected": _("No answer came. Check the connection and try again.", language=language),
    }
