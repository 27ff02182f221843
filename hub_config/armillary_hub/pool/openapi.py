"""The pool's REST API described: as OpenAPI 3.1 for programs, and as a page for people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from armillary_kernels.texts import language_of, translator
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from armillary_hub.pool.bodies import ActivityBody, AskBody, BindBody, QuotaBody, ReservationBody
from armillary_hub.web.pages import render

_ = translator(__file__)

_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Operation:
    """One request that the pool answers.

    Attributes
    ----------
    method, path
        Below the service's prefix.
    summary
        What it does, in English; the catalogue has the Chinese.
    statuses
        What it answers where all is well.
    body
        What it must say.
    admins
        Whether only admins may.
    """

    method: str
    path: str
    summary: str
    statuses: tuple[int, ...] = (200,)
    body: type[BaseModel] | None = None
    admins: bool = False


OPERATIONS = (
    Operation("GET", "/", "All GPUs, leases and the queue; a page for a browser"),
    Operation("POST", "/", "What the forms of the page do", (303,)),
    Operation("GET", "/utilisation", "Utilisation and memory of each GPU in the last hour, minute by minute"),
    Operation("GET", "/metrics", "Figures for Prometheus; for admins and tokens with the scope read:metrics"),
    Operation("GET", "/health", "Whether the service runs; without sign-in"),
    Operation("GET", "/history", "The last changes of leases: one's own, for admins everybody's"),
    Operation("GET", "/openapi.json", "This description, for programs"),
    Operation("GET", "/api", "This description, for people"),
    Operation(
        "POST",
        "/leases",
        "Ask for GPUs: granted (201) or queued (202); asked again with the same id, the lease as it stands",
        (200, 201, 202),
        AskBody,
    ),
    Operation("GET", "/leases/{id}", "What has become of a lease; one that waits must be looked at every few seconds"),
    Operation("PATCH", "/leases/{id}", "Tie a lease to the process that uses its GPUs", body=BindBody),
    Operation("DELETE", "/leases/{id}", "Give a lease back; an admin takes anybody's and ends its process"),
    Operation("POST", "/leases/{id}/leave", "Leave the queue; refused (409) where the GPUs are there already"),
    Operation(
        "POST", "/leases/{id}/release", "End a lease and its process, as the button of the page does", (200, 303)
    ),
    Operation("PUT", "/leases/{id}/activity", "Say whether the process of a lease is busy", body=ActivityBody),
    Operation("POST", "/leases/{id}/suspend", "Suspend a lease now: its state is kept, its GPUs are free"),
    Operation("POST", "/leases/{id}/resume", "Get GPUs for a suspended lease: at once or queued (202)", (200, 202)),
    Operation("GET", "/quotas", "The quota that counts for who asks; for admins all of them"),
    Operation("PUT", "/quotas/default", "Set everybody's quota", body=QuotaBody, admins=True),
    Operation("DELETE", "/quotas/default", "Remove everybody's quota", (204,), admins=True),
    Operation(
        "PUT",
        "/quotas/{scope}/{name}",
        "Set the quota of a user, or of each member of a group",
        body=QuotaBody,
        admins=True,
    ),
    Operation("DELETE", "/quotas/{scope}/{name}", "Remove the quota of a user or a group", (204,), admins=True),
    Operation("GET", "/reservations", "All reservations that are not over"),
    Operation(
        "POST", "/reservations", "Keep GPUs for a user or a group at some time", (201,), ReservationBody, admins=True
    ),
    Operation("DELETE", "/reservations/{id}", "Remove a reservation", (204,), admins=True),
)


def document(prefix: str) -> dict[str, Any]:
    """Return the description as OpenAPI has it (https://spec.openapis.org/oas/v3.1.0)."""
    bodies = {operation.body for operation in OPERATIONS if operation.body}
    _names, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    token = {"type": "http", "scheme": "bearer", "description": "a token of the hub"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Armillary's GPU pool", "version": version("armillary")},
        "servers": [{"url": prefix}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": {"token": token}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {str(status): {"description": "done"} for status in operation.statuses},
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", operation.path)
        ],
    }
    described["responses"]["default"] = {"description": 'refused, with {"error": {"what": ..., "remedy": ...}}'}
    if operation.body:
        schema = {"$ref": _REFERENCE.format(model=operation.body.__name__)}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def routes(prefix: str) -> list[BaseRoute]:
    """Return the routes of the description."""

    async def json(request: Request) -> Response:
        return JSONResponse(document(prefix))

    async def page(request: Request) -> Response:
        language = language_of(request.headers.get("accept-language"))
        rows = [(operation, _(operation.summary, language=language), _fields(operation)) for operation in OPERATIONS]
        identity, folder = request.state.identity, Path(__file__).parent
        return HTMLResponse(
            render("api.html", identity=identity, language=language, folder=folder, rows=rows, prefix=prefix)
        )

    return [Route(f"{prefix}/openapi.json", json, methods=["GET"]), Route(f"{prefix}/api", page, methods=["GET"])]


def _fields(operation: Operation) -> list[str]:
    """Return the names of what a request says, those that may be left out in brackets."""
    fields = operation.body.model_fields if operation.body else {}
    return [name if field.is_required() else f"[{name}]" for name, field in fields.items()]
