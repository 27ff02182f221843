"""Publishing a trained model as an app: a page for people and an endpoint for programs.

>>> from armillary import publishing
>>> app = publishing.publish(run.model, name="digits", access="everyone")
>>> app.url
'http://127.0.0.1:8000/user/app-digits/'
"""

from __future__ import annotations

from typing import Any

from armillary.publishing.apps_client import App
from armillary.publishing.export import Export, export_onnx
from armillary.publishing.publish import apps, change_access, publish, rollback, unpublish

__all__ = ["App", "Export", "apps", "change_access", "export_onnx", "panel", "publish", "rollback", "unpublish"]


def panel(model: Any, *, data: Any = None) -> Any:
    """Return the panel that publishes a model; see `armillary.publishing.publish_panel.PublishPanel`."""
    from armillary.publishing.publish_panel import PublishPanel

    return PublishPanel(model, data=data)
