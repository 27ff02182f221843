"""``/v2``: the Open Inference Protocol over HTTP, for programs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as installed_version
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from armillary_hub.app_server import protocol
from armillary_hub.app_server.batching import Batcher
from armillary_hub.app_server.model import OnnxModel
from armillary_hub.app_server.refusals import BadRequestError, NotFoundError, TooLargeError
from armillary_hub.web.errors import WebError

#: The largest request body, in bytes.
LARGEST_BODY = 64 * 2**20

_EXTENSIONS = ["binary_tensor_data"]


def answer_error(error: WebError) -> Response:
    """Return the protocol's error: a status and ``{"error": "…"}``."""
    text = f"{error.what} {error.remedy}".strip()
    return Response(orjson.dumps({"error": text}), error.status, error.headers, "application/json")


class Endpoint:
    """Serves one model under ``prefix``.

    Parameters
    ----------
    model
        The model.
    name, version
        What it is called in addresses and answers.
    used
        Called at each inference, so that the app counts as active.
    """

    def __init__(self, model: OnnxModel, name: str, version: str, used: Callable[[], None] = lambda: None) -> None:
        self._model = model
        self._name = name
        self._version = version
        self._used = used
        self.batcher = Batcher(model)

    def routes(self, prefix: str = "/") -> list[Route]:
        """Return the protocol's routes below ``prefix``, which ends in a slash."""
        routes = [
            Route(f"{prefix}v2/health/live", self._guarded(self._live)),
            Route(f"{prefix}v2/health/ready", self._guarded(self._ready)),
            Route(f"{prefix}v2", self._guarded(self._server)),
        ]
        for model in (f"{prefix}v2/models/{{model}}", f"{prefix}v2/models/{{model}}/versions/{{version}}"):
            routes += [
                Route(model, self._guarded(self._metadata)),
                Route(f"{model}/ready", self._guarded(self._model_ready)),
                Route(f"{model}/infer", self._guarded(self._infer), methods=["POST"]),
            ]
        return routes

    def _guarded(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            try:
                self._check_model(request)
                return await answer(request)
            except WebError as error:
                return answer_error(error)

        return guarded

    def _check_model(self, request: Request) -> None:
        model, version = request.path_params.get("model"), request.path_params.get("version")
        if model not in (None, self._name):
            raise NotFoundError(f"There is no model '{model}' here; this app's is '{self._name}'.")
        if version not in (None, self._version):
            raise NotFoundError(f"Model '{self._name}' has no version '{version}' here; it serves '{self._version}'.")

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        return _json({"ready": True})

    async def _model_ready(self, request: Request) -> Response:
        return _json({"name": self._name, "ready": True})

    async def _server(self, request: Request) -> Response:
        return _json({"name": "armillary", "version": installed_version("armillary"), "extensions": _EXTENSIONS})

    async def _metadata(self, request: Request) -> Response:
        inputs = [spec.to_json() for spec in self._model.inputs]
        outputs = [spec.to_json() for spec in self._model.outputs]
        described = {"name": self._name, "versions": [self._version], "platform": "onnx_onnxruntime"}
        return _json({**described, "inputs": inputs, "outputs": outputs})

    async def _infer(self, request: Request) -> Response:
        self._used()
        body = await _body(request)
        inference = protocol.read(body, request.headers.get(protocol.HEADER_LENGTH), self._model)
        outputs = await self.batcher.answer(inference.inputs)
        content, headers = protocol.write(inference, outputs, self._name, self._version)
        return Response(content, 200, headers)


async def _body(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise WebError(415, "Compressed requests are not taken.", "Send the body as it is.")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise BadRequestError("Content-Length is not a number.")
    if int(announced) > LARGEST_BODY:
        raise TooLargeError(LARGEST_BODY)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise TooLargeError(LARGEST_BODY)
        parts.append(part)
    return b"".join(parts)


def _json(values: dict[str, Any]) -> Response:
    return Response(orjson.dumps(values), media_type="application/json")
