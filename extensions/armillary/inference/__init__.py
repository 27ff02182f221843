"""Asking a published model: from a program (`Endpoint`), and from an app's page (`image_page`, `table_page`).

>>> from armillary.inference import Endpoint
>>> Endpoint("http://127.0.0.1:8000/user/app-digits/v2/models/digits", token).predict(x)
"""

from __future__ import annotations

from typing import Any

from armillary.inference.endpoint import Endpoint

__all__ = ["Endpoint", "image_page", "table_page"]


def image_page() -> Any:
    """Return the page that classifies a picture; for an app's notebook."""
    from armillary.inference.image_page import ImagePage

    return ImagePage()


def table_page() -> Any:
    """Return the page with one field per feature; for an app's notebook."""
    from armillary.inference.table_page import TablePage

    return TablePage()
