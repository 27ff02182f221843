"""Which idle servers may be stopped."""

from __future__ import annotations

from datetime import timedelta

import pytest
from armillary_hub.culling import may_cull


@pytest.mark.parametrize(
    ("url", "idle", "culled"),
    [
        ("/user/ann/", 99, False),
        ("/user/ann/", 100, True),
        ("/user/app-digits/", 10**6, False),
        ("/user/appleby/", 100, True),
    ],
)
def test_idle_people_are_stopped_and_apps_never(url: str, idle: int, culled: bool) -> None:
    assert may_cull(inactive=timedelta(seconds=idle), inactive_limit=100, server={"url": url}) is culled
