"""A client of a model's endpoint (Open Inference Protocol v2), over HTTP or an app's own Unix socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from armillary_kernels.connection import Connection
from armillary_kernels.texts import translator

from armillary.errors import InferenceError

_ = translator(__file__)

_HEADER_LENGTH = "Inference-Header-Content-Length"


class Endpoint:
    """A published model.

    Parameters
    ----------
    url
        The model's address: ``App.api_url``, ``…/v2/models/<name>``.
    token
        A token of the hub that may open the app; default: this server's own, which goes to its own hub only.
    unix_socket
        Reach the model by this socket and not by the network (an app's own page).
    timeout
        Seconds to wait for an answer.
    """

    def __init__(
        self, url: str, token: str | None = None, *, unix_socket: Path | None = None, timeout: float = 60
    ) -> None:
        token = token if token is not None else _own_token(url)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.HTTPTransport(uds=str(unix_socket) if unix_socket else None, trust_env=False)
        self.url = url.rstrip("/")
        self._client = httpx.Client(headers=headers, timeout=timeout, transport=transport)

    def ready(self) -> bool:
        """Return whether the model answers."""
        try:
            return self._client.get(f"{self.url}/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def metadata(self) -> dict[str, Any]:
        """Return the model's inputs, outputs and versions.

        Raises
        ------
        InferenceError
            When the endpoint refuses or does not answer.
        """
        answer: dict[str, Any] = self._send("GET", self.url).json()
        return answer

    def infer(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the model's outputs by name.

        Parameters
        ----------
        inputs
            One array for each input, as `metadata` describes them.

        Raises
        ------
        InferenceError
            When the endpoint refuses or does not answer.
        """
        tensors, binary = [], []
        for name, values in inputs.items():
            raw = np.ascontiguousarray(values).tobytes()
            datatype = _PROTOCOL_TYPES[values.dtype.name]
            parameters = {"binary_data_size": len(raw)}
            tensors.append({"name": name, "datatype": datatype, "shape": values.shape, "parameters": parameters})
            binary.append(raw)
        header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
        headers = {"Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(header))}
        answer = self._send("POST", f"{self.url}/infer", content=b"".join((header, *binary)), headers=headers)
        return _tensors(answer.content, int(answer.headers[_HEADER_LENGTH]))

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the probability of each class, float32 ``(n, classes)``, for prepared examples ``x`` (float32).

        Raises
        ------
        InferenceError
            When the endpoint refuses or does not answer.
        """
        return self.infer({"input": np.asarray(x, dtype=np.float32)})["probabilities"]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, url, **options)
        except httpx.HTTPError as error:
            what = _("{url} does not answer: {error}.", url=url, error=error)
            raise InferenceError(what, _("Is the app running? Open its page once.")) from error
        if response.status_code != 200:
            raise _refused(response)
        return response


_PROTOCOL_TYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}
_NUMPY_TYPES = {protocol: name for name, protocol in _PROTOCOL_TYPES.items()}


def _own_token(url: str) -> str:
    """Return this server's own token for an address of its hub; any other server would learn it."""
    hub = Connection.from_environment()
    return hub.token if hub is not None and url.startswith(f"{hub.public_url}/") else ""


def _tensors(body: bytes, header_length: int) -> dict[str, npt.NDArray[Any]]:
    found, start = {}, header_length
    for output in json.loads(body[:header_length])["outputs"]:
        end = start + output["parameters"]["binary_data_size"]
        values = np.frombuffer(body[start:end], _NUMPY_TYPES[output["datatype"]])
        found[output["name"]] = values.reshape(output["shape"])
        start = end
    return found


def _refused(response: httpx.Response) -> InferenceError:
    try:
        reason = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        reason = _("HTTP status {status}.", status=response.status_code)
    remedy = {
        401: _("Give a valid token."),
        403: _("Ask the app's owner for access."),
        503: _("Try again in a moment."),
    }
    return InferenceError(_("The endpoint refused: {reason}", reason=reason), remedy.get(response.status_code, ""))
