"""What the pages of apps share: the release they belong to, and its endpoint."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from armillary_kernels.release import Release
from armillary_kernels.texts import translator

from armillary.errors import InferenceError
from armillary.inference.endpoint import Endpoint

_ = translator(__file__)


@cache
def own_release() -> Release:
    """Return the release that this page belongs to.

    Raises
    ------
    InferenceError
        Outside an app.
    """
    if folder := os.environ.get("ARMILLARY_RELEASE"):
        return Release.read(Path(folder))
    raise InferenceError(
        _("This is not the page of a published app."), _("Publish a model, and open the app's address.")
    )


@cache
def own_endpoint() -> Endpoint:
    """Return the endpoint of this page's own app."""
    socket = Path(os.environ["ARMILLARY_ENDPOINT_SOCKET"])
    return Endpoint(f"http://app/v2/models/{own_release().name}", token="", unix_socket=socket)
