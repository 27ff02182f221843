"""What comes with a request to publish: checked before anything is written."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

import onnx
from armillary_kernels.release import MODEL, NOTEBOOK, Release
from armillary_kernels.texts import translator
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from armillary_hub.apps.access import Access
from armillary_hub.web.errors import WebError

_ = translator(__file__)

LARGEST_MODEL = 2 * 2**30
LARGEST_NOTEBOOK = 5 * 2**20
_LARGEST_TEXT = 2**20

#: One after the other: checking takes several times a model's size in memory.
_CHECKING = asyncio.Lock()


@dataclass(frozen=True)
class Upload:
    """A checked request to publish."""

    release: Release
    access: Access | None
    model: BinaryIO
    notebook: bytes


async def read_upload(request: Request, name: str, owner: str) -> Upload:
    """Return what a person publishes, checked.

    Raises
    ------
    WebError
        400 or 413, saying what is wrong with which part.
    """
    size = request.headers.get("content-length", "")
    if not size.isdecimal():
        raise WebError(411, _("The upload does not say its size."), _("Send Content-Length."))
    if int(size) > LARGEST_MODEL + LARGEST_NOTEBOOK + _LARGEST_TEXT:
        raise WebError(413, _("A model may have {n} GiB.", n=LARGEST_MODEL // 2**30), _("Publish a smaller model."))
    form = await request.form(max_files=2, max_fields=2, max_part_size=_LARGEST_TEXT)
    values = _json_part(form, "release")
    release = _release({**values, "name": name, "owner": owner, "created": datetime.now(UTC).isoformat("T", "seconds")})
    access = Access.parse(_json_part(form, "access")) if "access" in form else None
    model = _file_part(form, MODEL)
    notebook = await _file_part(form, NOTEBOOK).read(LARGEST_NOTEBOOK + 1)
    async with _CHECKING:
        await run_in_threadpool(_check_model, model.file, release)
    return Upload(release, access, model.file, _titled(notebook, release))


def _json_part(form: FormData, part: str) -> Any:
    try:
        return json.loads(str(form[part]))
    except (KeyError, ValueError):
        raise WebError(400, _("The upload's part '{part}' is missing or not JSON.", part=part)) from None


def _file_part(form: FormData, part: str) -> UploadFile:
    found = form.get(part)
    if not isinstance(found, UploadFile):
        raise WebError(400, _("The upload lacks the file '{part}'.", part=part))
    return found


def _release(values: dict[str, Any]) -> Release:
    try:
        return Release.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = _("The release's '{place}' is wrong: {reason}.", place=place, reason=first["msg"])
        raise WebError(400, what) from None


def _check_model(file: BinaryIO, release: Release) -> None:
    """Check that the file is an ONNX graph that is whole in itself and fits the release."""
    try:
        model = onnx.load_model_from_string(file.read())
    except Exception as error:  # protobuf's own errors
        what = _("'{file}' is not an ONNX model.", file=MODEL)
        raise WebError(400, what, _("Export it again.")) from error
    file.seek(0)
    graph = model.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        what = _("'{file}' keeps weights in other files.", file=MODEL)
        raise WebError(400, what, _("Export it into one file."))
    inputs, outputs = [value.name for value in graph.input], {value.name: value for value in graph.output}
    if inputs != ["input"] or "probabilities" not in outputs:
        what = _(
            "The model takes {inputs} and gives {outputs}, not 'input' and 'probabilities'.",
            inputs=inputs,
            outputs=sorted(outputs),
        )
        raise WebError(400, what, _("Export it with armillary.publishing."))
    sizes = [size.dim_value for size in outputs["probabilities"].type.tensor_type.shape.dim]
    if len(sizes) != 2 or sizes[1] not in (0, len(release.class_names)):
        what = _(
            "The model's output has shape {shape}; there are {n} class names.", shape=sizes, n=len(release.class_names)
        )
        raise WebError(400, what, _("Publish a model whose output matches its classes."))


def _titled(notebook: bytes, release: Release) -> bytes:
    """Return the notebook with the app's title and description, which its page shows."""
    if len(notebook) > LARGEST_NOTEBOOK:
        what = _("The app's notebook is larger than {n} MiB.", n=LARGEST_NOTEBOOK // 2**20)
        raise WebError(413, what, _("Clear its outputs."))
    try:
        content = json.loads(notebook)
        if content["nbformat"] != 4 or not isinstance(content["cells"], list):
            raise ValueError
        content["metadata"].update(title=release.title, description=release.description)
    except (ValueError, KeyError, TypeError, AttributeError):
        what = _("'{file}' is not a notebook of format 4.", file=NOTEBOOK)
        raise WebError(400, what, _("Save it with Jupyter.")) from None
    return json.dumps(content, ensure_ascii=False).encode()
