"""A deployment starts, answers, and ends without a trace."""

from __future__ import annotations

import httpx
from support.deployment import Deployment


def test_it_answers_through_the_proxy(deployment: Deployment) -> None:
    assert httpx.get(f"{deployment.url}/hub/api/").json()["version"].startswith("6.1")
    assert "/hub/invitation/" in deployment.admin_invitation()
