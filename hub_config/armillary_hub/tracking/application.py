"""MLflow's own server application, loaded into this process when it is first needed.

Importing it takes several seconds and 300 MB, so nobody waits for it who does not use it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from armillary_hub.settings import Settings

#: MLflow's own name for a workspace's header (`mlflow.utils.workspace_utils.WORKSPACE_HEADER_NAME`).
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"


def workspace_of(user: str) -> str:
    """Return the workspace of a hub user.

    MLflow keeps workspaces apart in its store: experiments, runs, models and artifacts, and their names. The ending
    makes every user name a valid workspace name: MLflow reserves some, and wants two characters and no last hyphen.
    """
    return f"{user}-user"


@dataclass(frozen=True)
class MLflow:
    """The loaded application.

    Attributes
    ----------
    app
        The ASGI application; expects paths without our prefix.
    create_workspace
        Makes a workspace unless it is there.
    server_info
        What the server says of itself.
    """

    app: ASGIApp
    create_workspace: Callable[[str], None]
    server_info: Callable[[], dict[str, Any]]


class LazyMLflow:
    """Loads MLflow once, when it is first asked for.

    Parameters
    ----------
    settings
        The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loading: asyncio.Task[MLflow] | None = None
        self._workspaces: set[str] = set()

    @property
    def is_loaded(self) -> bool:
        """Whether requests are answered without waiting."""
        return self._loading is not None and self._loading.done() and not self._loading.cancelled()

    def start(self) -> asyncio.Task[MLflow]:
        """Begin to load, and return the task that ends with the application."""
        failed = self.is_loaded and self._loading is not None and self._loading.exception() is not None
        if self._loading is None or failed:
            self._loading = asyncio.create_task(asyncio.to_thread(load, self._settings))
        return self._loading

    async def get(self) -> MLflow:
        """Return the application; wait for it where needed."""
        return await asyncio.shield(self.start())

    async def require_workspace(self, name: str) -> None:
        """Make a workspace unless it is there."""
        if name not in self._workspaces:
            mlflow = await self.get()
            await asyncio.to_thread(mlflow.create_workspace, name)
            self._workspaces.add(name)


def load(settings: Settings) -> MLflow:
    """Import MLflow's server with the deployment's stores; takes many seconds.

    The folders of artifacts are the server's: clients reach them through it only.
    """
    settings.artifacts_dir.mkdir(exist_ok=True)
    os.environ.update(_environment(settings))
    # Outside a request MLflow would take this for the workspace of all.
    os.environ.pop("MLFLOW_WORKSPACE", None)

    from mlflow.entities import Workspace
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers
    from mlflow.server.fastapi_app import app
    from mlflow.server.workspace_helpers import _get_workspace_store

    database = settings.database_url("mlflow")
    handlers.initialize_backend_stores(database, database, "mlflow-artifacts:/")
    store = _get_workspace_store()

    def create_workspace(name: str) -> None:
        try:
            store.get_workspace(name)
        except MlflowException:
            store.create_workspace(Workspace(name=name))

    return MLflow(app, create_workspace, handlers.build_server_info_payload)


def _environment(settings: Settings) -> dict[str, str]:
    """Return what `mlflow server` would hand to its own worker processes."""
    database = settings.database_url("mlflow")
    return {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts_dir.as_uri(),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_ENABLE_WORKSPACES": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.secret("mlflow-flask"),
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": settings.secret("mlflow-crypto"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


#: What of MLflow is open to people. Not: its workspaces, jobs, assistant (which runs commands), gateway and webhooks
#: (which call out), nor what is for language models only.
_OPEN = re.compile(
    r"/(?:"
    r"|version|favicon\.ico|static-files/.*|get-artifact|model-versions/get-artifact|graphql"
    r"|(?:ajax-)?api/[23]\.0/mlflow-artifacts/.*"
    r"|(?:ajax-)?api/[23]\.0/mlflow/(?:experiments|runs|metrics|artifacts|logged-models|registered-models"
    r"|model-versions|datasets|traces|upload-artifact|get-trace-artifact)(?:/.*)?"
    r")"
)

_WORKSPACES = re.compile(r"/(?:ajax-)?api/3\.0/mlflow/workspaces(?:/.*)?")
_SERVER_INFO = re.compile(r"/(?:ajax-)?api/3\.0/mlflow/server-info")


def is_open(path: str) -> bool:
    """Return whether a path (without our prefix) is among what people may use."""
    return _OPEN.fullmatch(path) is not None


def is_workspaces(path: str) -> bool:
    """Return whether a path is that of the list of workspaces."""
    return _WORKSPACES.fullmatch(path) is not None


def is_server_info(path: str) -> bool:
    """Return whether a path is that of what the server says of itself."""
    return _SERVER_INFO.fullmatch(path) is not None
